{%- set recent = days_between('started_at', as_of()) ~ ' < ' ~ var('web_feature_days') %}

with sessions as (
    select * from {{ ref('int_sessions_attributed') }}
    where customer_id is not null
),

zones as (
    select name as time_zone from {{ known_time_zones() }} as known_zones
),

aged as (
    select
        sessions.*,
        case when {{ recent }} then 1 else 0 end as is_recent,
        {{ days_between('sessions.started_at', as_of()) }} as age_days,
        case when {{ days_between('sessions.started_at', as_of()) }} < 7 then 1 else 0 end as is_of_last_week,
        case when sessions.device_type = 'mobile' then 1 else 0 end as is_mobile,
        {{ utc_date('sessions.started_at') }} as visit_date,
        {{ local_hour('sessions.started_at', "coalesce(zones.time_zone, 'UTC')") }} as visit_hour
    from sessions
    left join zones on sessions.time_zone = zones.time_zone
),

-- The most frequent hour, the earlier of equals: it is packed behind its count, so that the greatest wins.
hours as (
    select
        customer_id,
        23 - mod(max(hour_rank), 100) as preferred_visit_hour
    from (
        select
            customer_id,
            count(*) * 100 + 23 - visit_hour as hour_rank
        from aged
        group by customer_id, visit_hour
    ) as counted
    group by customer_id
),

summarised as (
    select
        customer_id,
        count(*) as web_session_count,
        sum(is_recent) as web_sessions_30d,
        sum(product_view_count * is_recent) as product_views_30d,
        sum(product_view_count * is_of_last_week) as product_views_7d,
        sum(case when cart_addition_count > 0 then is_recent else 0 end) as carts_30d,
        sum(case when checkout_count > 0 then is_recent else 0 end) as checkouts_30d,
        count(distinct case when is_recent = 1 then visit_date end) as visit_days_30d,
        count(distinct case when is_recent = 1 and product_view_count > 0 then visit_date end)
            as product_view_days_30d,
        {% for days in [7, 90, 365] -%}
            sum(case when age_days < {{ days }} then 1 else 0 end) as web_sessions_{{ days }}d,
        {% endfor -%}
        {% for days in [90, 365] -%}
            sum(case when age_days < {{ days }} then product_view_count else 0 end)
                as product_views_{{ days }}d,
        {% endfor -%}
        sum(is_mobile) as mobile_session_count,
        sum(case when device_type = 'tablet' then 1 else 0 end) as tablet_session_count,
        min(first_campaign) as first_touch,
        max(last_campaign) as last_touch,
        min(started_at) as first_web_seen_at,
        max(ended_at) as last_web_seen_at,
        max(last_product_viewed_at) as last_product_viewed_at,
        max(last_cart_added_at) as last_cart_added_at,
        max(last_checkout_started_at) as last_checkout_started_at
    from aged
    group by customer_id
),

final as (
    select
        summarised.customer_id,
        {% for touch in ['first_touch', 'last_touch'] -%}
            {%- for part in ['source', 'medium', 'campaign'] -%}
                {{ unpacked('summarised.' ~ touch, loop.index) }} as {{ touch }}_{{ part }},
            {% endfor -%}
        {%- endfor -%}
        case
            when summarised.mobile_session_count * 2 > summarised.web_session_count then 'mobile'
            when summarised.tablet_session_count * 2 > summarised.web_session_count then 'tablet'
            else 'desktop'
        end as preferred_device,
        summarised.web_session_count,
        summarised.web_sessions_30d,
        summarised.product_views_30d,
        summarised.product_views_7d,
        {% for column in ['web_sessions_7d', 'web_sessions_90d', 'web_sessions_365d', 'product_views_90d',
            'product_views_365d'] -%}
            summarised.{{ column }},
        {% endfor -%}
        summarised.carts_30d,
        summarised.checkouts_30d,
        summarised.visit_days_30d,
        summarised.product_view_days_30d,
        hours.preferred_visit_hour,
        cast(summarised.mobile_session_count as {{ double() }}) / summarised.web_session_count
            as mobile_session_share,
        summarised.first_web_seen_at,
        summarised.last_web_seen_at,
        summarised.last_product_viewed_at,
        summarised.last_cart_added_at,
        summarised.last_checkout_started_at
    from summarised
    inner join hours on summarised.customer_id = hours.customer_id
)

select * from final

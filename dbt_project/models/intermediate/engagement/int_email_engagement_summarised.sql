{%- set acts = {'delivered': 'delivered_at', 'opened': 'first_opened_at', 'clicked': 'first_clicked_at'} %}

with messages as (
    select * from {{ ref('int_email_messages_summarised') }}
),

response_days as (
    select * from {{ ref('int_email_response_days_summarised') }}
),

attributed_orders as (
    select * from {{ ref('int_email_orders_attributed') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

emails as (
    select * from {{ ref('int_emails_resolved') }}
),

resolved as (
    select * from {{ recipients_resolved('messages', 'identifiers', 'emails') }}
),

dated as (
    select
        customer_id,
        delivered_at,
        first_opened_at,
        last_opened_at,
        first_clicked_at,
        last_clicked_at,
        {{ days_between('first_event_at', as_of()) }} as age_days,
        {{ days_between('first_event_at', as_of()) }} < {{ var('email_feature_days') }}
            as is_recent,
        {{ days_between('first_event_at', as_of()) }} < {{ var('email_recent_days') }}
            as is_latest
    from resolved
    where customer_id is not null
),

summed as (
    select
        customer_id,
        count(case when delivered_at is not null then 1 end) as emails_delivered_count,
        count(case when first_opened_at is not null then 1 end) as emails_opened_count,
        count(case when first_clicked_at is not null then 1 end) as emails_clicked_count,
        count(case when delivered_at is not null and first_opened_at is not null then 1 end)
            as delivered_opened_count,
        count(case when delivered_at is not null and first_clicked_at is not null then 1 end)
            as delivered_clicked_count,
        count(case when delivered_at is not null and is_recent then 1 end) as emails_delivered_90d,
        count(case when first_opened_at is not null and is_recent then 1 end) as emails_opened_90d,
        count(case when first_clicked_at is not null and is_recent then 1 end) as emails_clicked_90d,
        count(case when delivered_at is not null and is_latest then 1 end) as emails_delivered_30d,
        count(case when first_opened_at is not null and is_latest then 1 end) as emails_opened_30d,
        count(case when first_clicked_at is not null and is_latest then 1 end) as emails_clicked_30d,
        {% for days in var('email_window_days') -%}
            {% for act, at in acts.items() -%}
                count(case when {{ at }} is not null and age_days < {{ days }} then 1 end)
                    as emails_{{ act }}_{{ days }}d,
            {% endfor -%}
        {% endfor -%}
        max(delivered_at) as last_email_delivered_at,
        max(last_opened_at) as last_email_opened_at,
        max(last_clicked_at) as last_email_clicked_at
    from dated
    group by customer_id
),

latest_days as (
    select * from response_days
    where {{ days_between('last_engaged_at', as_of()) }} < {{ var('email_recent_days') }}
),

engaged as (
    select
        customer_id,
        count(distinct event_date) as engagement_days_30d
    from {{ recipients_resolved('latest_days', 'identifiers', 'emails') }} as engaged_days
    where customer_id is not null
    group by customer_id
),

ordered as (
    select
        customer_id,
        count(*) as email_order_count,
        sum(net_amount) as email_revenue
    from attributed_orders
    group by customer_id
),

final as (
    select
        summed.*,
        coalesce(engaged.engagement_days_30d, 0) as engagement_days_30d,
        coalesce(ordered.email_order_count, 0) as email_order_count,
        coalesce(ordered.email_revenue, 0) as email_revenue,
        {{ share('summed.delivered_opened_count', 'summed.emails_delivered_count') }} as email_open_rate,
        {{ share('summed.delivered_clicked_count', 'summed.emails_delivered_count') }} as email_click_rate,
        {{ share('coalesce(ordered.email_order_count, 0)', 'summed.emails_delivered_count') }}
            as email_conversion_rate,
        case
            when summed.last_email_opened_at is null then summed.last_email_clicked_at
            when summed.last_email_clicked_at > summed.last_email_opened_at then summed.last_email_clicked_at
            else summed.last_email_opened_at
        end as last_email_engaged_at
    from summed
    left join engaged on summed.customer_id = engaged.customer_id
    left join ordered on summed.customer_id = ordered.customer_id
)

select * from final

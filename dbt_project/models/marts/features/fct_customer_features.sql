{{ config(alias='customer_features') }}

with customers as (
    select * from {{ ref('int_customers_profiled') }}
),

orders as (
    select * from {{ ref('int_orders_summarised') }}
),

assortments as (
    select * from {{ ref('int_assortments_summarised') }}
),

web as (
    select * from {{ ref('int_web_activity_summarised') }}
),

engagement as (
    select * from {{ ref('int_email_engagement_summarised') }}
),

replacements as (
    select * from {{ ref('int_replacements_computed') }}
),

-- Web and e-mail behaviour is observed for people of the shop alone: elsewhere it is unknown, not zero.
-- What was a year ago is known of those who were known then.
people as (
    select
        *,
        source_systems like '%shop%' as is_observed,
        {{ month_number(utc_date(as_of())) }} - {{ month_number(utc_date('first_seen_at')) }} > 12
            as is_known_for_a_year
    from {{ with_replacements('customers', 'replacements') }} as filled
),

final as (
    select
        people.customer_id,
        {% for column in ['country_code', 'time_zone', 'loyalty_tier', 'favourite_category'] -%}
            {{ imputed('people', column) }} as {{ column }},
        {% endfor -%}
        {{ imputed('people', 'preferred_device') }} as preferred_device,
        people.lifecycle_stage,
        people.source_systems,
        {{ imputed('people', 'age_years', 'bigint') }} as age_years,
        {{ imputed('people', 'preferred_visit_hour', 'bigint') }} as preferred_visit_hour,
        {{ days_between('people.last_ordered_at', as_of()) }} as recency_days,
        cast(people.order_count as bigint) as frequency,
        {{ rounded_money('people.total_spend') }} as monetary,
        {{ rounded_money('people.average_order_value') }} as average_order_value,
        {{ days_between('people.first_seen_at', as_of()) }} as tenure_days,
        cast(people.purchase_interval_days as {{ double() }}) as purchase_interval_days_mean,
        cast(coalesce(assortments.distinct_products, 0) as bigint) as distinct_products,
        cast(nullif(assortments.category_count, 0) as bigint) as distinct_categories,
        cast(people.refund_rate as {{ double() }}) as refund_rate,
        {% for days in [7, 30, 90, 365] -%}
            cast(coalesce(orders.order_count_{{ days }}_days, 0) as bigint) as orders_{{ days }}d,
            {{ rounded_money('coalesce(orders.spend_' ~ days ~ '_days, 0)') }} as spend_{{ days }}d,
        {% endfor -%}
        {{ if_observed('people.is_known_for_a_year', 'orders.order_count_month_year_ago') }}
            as orders_month_year_ago,
        {{ rounded_money(
            'case when people.is_known_for_a_year then coalesce(orders.spend_month_year_ago, 0) end'
        ) }} as spend_month_year_ago,
        {{ share('orders.purchased_item_count', 'orders.order_count') }} as items_per_order,
        {{ rounded_money('orders.largest_order_amount') }} as largest_order_amount,
        cast(coalesce(orders.refunded_order_count, 0) as bigint) as refunded_orders,
        {{ days_between('people.first_ordered_at', as_of()) }} as days_since_first_order,
        cast(assortments.favourite_category_share as {{ double() }}) as favourite_category_share,
        cast(assortments.category_entropy as {{ double() }}) as category_entropy,
        {% for days in [7, 30, 90, 365] -%}
            {% for column in ['web_sessions', 'product_views'] -%}
                {{ if_observed('people.is_observed', 'web.' ~ column ~ '_' ~ days ~ 'd') }}
                    as {{ column }}_{{ days }}d,
            {% endfor -%}
            {% for column in ['emails_delivered', 'emails_opened', 'emails_clicked'] -%}
                {{ if_observed('people.is_observed', 'engagement.' ~ column ~ '_' ~ days ~ 'd') }}
                    as {{ column }}_{{ days }}d,
            {% endfor -%}
        {% endfor -%}
        {% for column in ['carts_30d', 'checkouts_30d', 'visit_days_30d', 'product_view_days_30d'] -%}
            {{ if_observed('people.is_observed', 'web.' ~ column) }} as {{ column }},
        {% endfor -%}
        {% for column in ['engagement_days_30d', 'email_order_count'] -%}
            {{ if_observed('people.is_observed', 'engagement.' ~ column) }} as {{ column }},
        {% endfor -%}
        cast(web.mobile_session_share as {{ double() }}) as mobile_session_share,
        {{ days_between('web.last_web_seen_at', as_of()) }} as days_since_last_web_visit,
        {{ days_between('web.last_product_viewed_at', as_of()) }} as days_since_last_product_view,
        {{ days_between('web.last_cart_added_at', as_of()) }} as days_since_last_cart_addition,
        {{ days_between('web.last_checkout_started_at', as_of()) }} as days_since_last_checkout,
        {% for act in ['delivered', 'opened', 'clicked'] -%}
            {{ days_between('engagement.last_email_' ~ act ~ '_at', as_of()) }}
                as days_since_last_email_{{ act }},
        {% endfor -%}
        {{ share('people.emails_opened_90d', 'people.emails_delivered_90d') }} as email_open_rate_90d,
        {{ share('people.emails_clicked_90d', 'people.emails_delivered_90d') }} as email_click_rate_90d,
        people.is_observed as is_online_behaviour_observed,
        {% for column in ['country_code', 'time_zone', 'loyalty_tier', 'favourite_category',
            'preferred_device', 'age_years', 'preferred_visit_hour'] -%}
            {{ imputed_flag('people', column) }} as is_{{ column }}_imputed,
        {% endfor -%}
        {{ as_of() }} as as_of
    from people
    left join orders on people.customer_id = orders.customer_id
    left join assortments on people.customer_id = assortments.customer_id
    left join web on people.customer_id = web.customer_id
    left join engagement on people.customer_id = engagement.customer_id
    where coalesce(orders.customer_id, web.customer_id, engagement.customer_id) is not null
)

select * from final

with customers as (
    select * from {{ ref('int_customers_profiled') }}
),

orders as (
    select * from {{ ref('int_orders_summarised') }}
),

web as (
    select * from {{ ref('int_web_activity_summarised') }}
),

engagement as (
    select * from {{ ref('int_email_engagement_summarised') }}
),

-- Exact money is ranked, so that equal spenders are equal on every engine.
percentiles as (
    select
        customer_id,
        percent_rank() over (order by total_spend) as spend_percentile
    from orders
    where order_count > 0
),

-- Web and e-mail behaviour is observed for the shop's people alone: elsewhere it is unknown, not zero.
joined as (
    select
        customers.*,
        percentiles.spend_percentile,
        orders.order_count_30_days,
        web.product_views_7d,
        web.product_views_30d,
        web.product_view_days_30d,
        web.carts_30d,
        web.checkouts_30d,
        coalesce(web.visit_days_30d, 0) as visit_days_30d,
        coalesce(engagement.engagement_days_30d, 0) as email_engagement_days_30d,
        customers.source_systems like '%shop%' as is_observed
    from customers
    left join percentiles on customers.customer_id = percentiles.customer_id
    left join orders on customers.customer_id = orders.customer_id
    left join web on customers.customer_id = web.customer_id
    left join engagement on customers.customer_id = engagement.customer_id
),

final as (
    select
        customer_id,
        country_code,
        loyalty_tier,
        lifecycle_stage,
        favourite_category,
        preferred_device,
        email_consent_status,
        cast(age_years as bigint) as age_years,
        cast(order_count as bigint) as order_count,
        cast(coalesce(order_count_30_days, 0) as bigint) as order_count_30_days,
        cast(order_count_90_days as bigint) as order_count_90_days,
        cast(total_spend as {{ double() }}) as total_spend,
        cast(average_order_value as {{ double() }}) as average_order_value,
        cast(spend_percentile as {{ double() }}) as spend_percentile,
        {% for column in ['web_session_count', 'web_sessions_30d', 'visit_days_30d', 'product_views_7d',
            'product_views_30d', 'product_view_days_30d', 'carts_30d', 'checkouts_30d', 'emails_delivered_count',
            'emails_opened_count', 'emails_clicked_count', 'emails_delivered_90d',
            'email_engagement_days_30d'] -%}
            cast(case when is_observed then coalesce({{ column }}, 0) end as bigint) as {{ column }},
        {% endfor -%}
        cast(
            case
                when not is_observed then null
                when visit_days_30d > email_engagement_days_30d then visit_days_30d
                else email_engagement_days_30d
            end as bigint
        ) as active_days_30d,
        {{ share('emails_opened_90d', 'emails_delivered_90d') }} as email_open_rate_90d,
        {{ share('emails_clicked_90d', 'emails_delivered_90d') }} as email_click_rate_90d,
        {{ days_between('first_seen_at', as_of()) }} as days_since_first_seen,
        {{ days_between('last_ordered_at', as_of()) }} as days_since_last_order,
        {{ hours_between('last_ordered_at', as_of()) }} as hours_since_last_order,
        {{ days_between('last_web_seen_at', as_of()) }} as days_since_last_web_visit,
        {{ days_between('last_product_viewed_at', as_of()) }} as days_since_last_product_view,
        {{ hours_between('last_product_viewed_at', as_of()) }} as hours_since_last_product_view,
        {{ days_between('last_cart_added_at', as_of()) }} as days_since_last_cart_addition,
        {{ days_between('last_email_engaged_at', as_of()) }} as days_since_last_email_engagement,
        coalesce({{ is_birthday('birth_date', as_of()) }}, false) as is_birthday_today,
        coalesce(last_order_seen_at >= last_cart_added_at, false) as has_ordered_since_last_cart_addition,
        is_email_suppressed,
        {{ as_of() }} as as_of
    from joined
)

select * from final

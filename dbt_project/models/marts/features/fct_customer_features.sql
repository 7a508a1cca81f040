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

-- Web and e-mail behaviour is observed for the shop's people alone: elsewhere it is unknown, not zero.
observed as (
    select
        customer_id,
        country_code,
        source_systems,
        average_order_value,
        first_seen_at,
        source_systems like '%shop%' as is_observed
    from customers
),

final as (
    select
        observed.customer_id,
        observed.country_code,
        observed.source_systems,
        {{ days_between('orders.last_ordered_at', as_of()) }} as recency_days,
        cast(coalesce(orders.order_count, 0) as bigint) as frequency,
        {{ rounded_money('coalesce(orders.total_spend, 0)') }} as monetary,
        {{ rounded_money('observed.average_order_value') }} as average_order_value,
        {{ days_between('observed.first_seen_at', as_of()) }} as tenure_days,
        case
            when orders.order_count > 1
                then
                    {{ seconds_between('orders.first_ordered_at', 'orders.last_ordered_at') }}
                    / 86400.0 / (orders.order_count - 1)
        end as purchase_interval_days_mean,
        cast(coalesce(assortments.distinct_products, 0) as bigint) as distinct_products,
        cast(case when assortments.categorised_line_count > 0 then assortments.category_count end as bigint)
            as distinct_categories,
        cast(orders.refunded_amount as double)
        / nullif(cast(orders.gross_amount as double), 0) as refund_rate,
        cast(case when observed.is_observed then coalesce(web.web_sessions_30d, 0) end as bigint)
            as web_sessions_30d,
        cast(case when observed.is_observed then coalesce(web.product_views_30d, 0) end as bigint)
            as product_views_30d,
        cast(case when observed.is_observed then coalesce(web.carts_30d, 0) end as bigint) as carts_30d,
        cast(case when observed.is_observed then coalesce(engagement.emails_delivered_90d, 0) end as bigint)
            as emails_delivered_90d,
        cast(case when observed.is_observed then coalesce(engagement.emails_opened_90d, 0) end as bigint)
            as emails_opened_90d,
        cast(case when observed.is_observed then coalesce(engagement.emails_clicked_90d, 0) end as bigint)
            as emails_clicked_90d,
        {{ as_of() }} as as_of
    from observed
    left join orders on observed.customer_id = orders.customer_id
    left join assortments on observed.customer_id = assortments.customer_id
    left join web on observed.customer_id = web.customer_id
    left join engagement on observed.customer_id = engagement.customer_id
    where
        orders.customer_id is not null
        or web.customer_id is not null
        or engagement.customer_id is not null
)

select * from final

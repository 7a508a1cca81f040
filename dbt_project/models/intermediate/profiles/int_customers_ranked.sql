{{ config(materialized='view') }}

-- One model reads it: it is written nowhere.
with orders as (
    select * from {{ ref('int_orders_summarised') }}
    where order_count > 0
),

-- Equal values may fall on two sides of a cut; the customer's id decides which, so that every build agrees.
final as (
    select
        customer_id,
        {{ days_between('last_ordered_at', as_of()) }} as recency_days,
        order_count as frequency,
        total_spend as monetary,
        ntile(5) over (order by last_ordered_at, customer_id) as recency_score,
        ntile(5) over (order by order_count, customer_id) as frequency_score,
        ntile(5) over (order by total_spend, customer_id) as monetary_score
    from orders
)

select * from final

{{ config(alias='customer_orders') }}

with orders as (
    select * from {{ ref('fct_orders') }}
),

final as (
    select
        customer_id,
        order_id,
        item_count,
        gross_amount,
        net_amount,
        order_date,
        ordered_at
    from orders
    where is_purchase and customer_id is not null
)

select * from final

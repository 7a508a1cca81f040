{{ config(severity='warn') }}

-- total = lines - discount + shipping.
-- A warning, because the shop's own total is what the customer paid, and is what we use.
with orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

lines as (
    select
        shop_order_id,
        sum(line_amount) as line_amount
    from {{ used(ref('stg_shop__order_lines')) }}
    group by shop_order_id
)

select
    orders.shop_order_id,
    orders.total_amount,
    lines.line_amount
from orders
inner join lines on orders.shop_order_id = lines.shop_order_id
where
    abs(
        lines.line_amount
        - coalesce(orders.discount_amount, 0)
        + coalesce(orders.shipping_amount, 0)
        - orders.total_amount
    )
    > 0.005

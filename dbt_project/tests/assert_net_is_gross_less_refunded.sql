-- An order's three amounts must agree to the penny, or spend and refund rate tell different stories.
with orders as (
    select * from {{ ref('fct_orders') }}
)

select
    order_id,
    gross_amount,
    refunded_amount,
    net_amount
from orders
where abs(gross_amount - refunded_amount - net_amount) > 0.005

-- A refund above the order's total is an error of the shop's: it may cost that order, never other ones.
-- Online Retail's cancellations are rows of their own and may be below zero.
with orders as (
    select * from {{ ref('fct_orders') }}
)

select
    order_id,
    gross_amount,
    refunded_amount,
    net_amount
from orders
where
    source_system = 'shop'
    and (net_amount < 0 or (is_refund_capped and net_amount <> 0))

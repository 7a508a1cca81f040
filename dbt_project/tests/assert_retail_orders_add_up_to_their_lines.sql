-- Matching cancellations with purchases may move money between invoices but neither make nor lose any.
with orders as (
    select * from {{ ref('int_orders_unified') }}
    where source_system = 'online_retail'
),

invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

ordered as (
    select coalesce(sum(net_amount), 0) as amount
    from orders
),

invoiced as (
    select coalesce(sum(line_amount), 0) as amount
    from invoice_lines
)

select
    ordered.amount as ordered_amount,
    invoiced.amount as invoiced_amount
from ordered
cross join invoiced
where ordered.amount <> invoiced.amount

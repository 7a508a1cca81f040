-- The profile's spend and number of orders are those of the orders themselves.
with customers as (
    select * from {{ ref('dim_customers') }}
),

orders as (
    select
        customer_id,
        sum(net_amount) as net_amount,
        sum(case when is_purchase then 1 else 0 end) as purchase_count
    from {{ ref('fct_orders') }}
    where customer_id is not null
    group by customer_id
)

select
    customers.customer_id,
    customers.total_spend,
    orders.net_amount
from customers
left join orders on customers.customer_id = orders.customer_id
where
    abs(customers.total_spend - coalesce(orders.net_amount, 0)) > 0.005
    or customers.order_count <> coalesce(orders.purchase_count, 0)

with orders as (
    select * from {{ ref('int_orders_unified') }}
),

final as (
    select
        customer_id,
        sum(case when is_purchase then 1 else 0 end) as order_count,
        sum(
            case
                when is_purchase and {{ days_between('ordered_at', as_of()) }} < 90 then 1
                else 0
            end
        ) as order_count_90_days,
        sum(net_amount) as total_spend,
        sum(case when is_purchase then net_amount else 0 end) as purchase_amount,
        sum(gross_amount) as gross_amount,
        sum(refunded_amount) as refunded_amount,
        min(case when is_purchase then ordered_at end) as first_ordered_at,
        max(case when is_purchase then ordered_at end) as last_ordered_at,
        max(ordered_at) as last_order_seen_at
    from orders
    where customer_id is not null
    group by customer_id
)

select * from final

with orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

lines as (
    select * from {{ used(ref('stg_shop__order_lines')) }}
),

refunds as (
    select * from {{ used(ref('stg_shop__refunds')) }}
),

counted as (
    select
        shop_order_id,
        count(*) as line_count,
        sum(quantity) as item_count
    from lines
    group by shop_order_id
),

refunded as (
    select
        shop_order_id,
        sum(refund_amount) as refunded_amount
    from refunds
    group by shop_order_id
),

-- A cancelled order counts as refunded in full: it was placed, and nothing of it stays.
final as (
    select
        orders.shop_order_id,
        orders.shop_customer_id,
        orders.normalised_email,
        orders.order_status,
        orders.currency,
        orders.total_amount as gross_amount,
        orders.is_email_valid,
        orders.ordered_at,
        orders._load_sequence,
        coalesce(counted.line_count, 0) as line_count,
        coalesce(counted.item_count, 0) as item_count,
        case
            when orders.order_status = 'cancelled' then orders.total_amount
            else coalesce(refunded.refunded_amount, 0)
        end as refunded_amount,
        orders.order_status = 'cancelled' as is_cancelled
    from orders
    left join counted on orders.shop_order_id = counted.shop_order_id
    left join refunded on orders.shop_order_id = refunded.shop_order_id
)

select * from final

{{ config(materialized='view') }}

-- One model reads it: it is written nowhere.
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

-- A cancelled order counts as refunded in full: it was placed, and nothing of it stays. Nobody gets back more
-- than was paid: what the shop wrote beyond it is an error of the shop's.
settled as (
    select
        orders.*,
        coalesce(counted.line_count, 0) as line_count,
        coalesce(counted.item_count, 0) as item_count,
        case
            when orders.order_status = 'cancelled' then orders.total_amount
            else least(coalesce(refunded.refunded_amount, 0), orders.total_amount)
        end as refunded_amount,
        orders.order_status = 'cancelled' as is_cancelled,
        coalesce(refunded.refunded_amount, 0) > orders.total_amount as is_refund_capped
    from orders
    left join counted on orders.shop_order_id = counted.shop_order_id
    left join refunded on orders.shop_order_id = refunded.shop_order_id
),

final as (
    select
        shop_order_id,
        shop_customer_id,
        normalised_email,
        order_status,
        currency,
        units_per_pound,
        line_count,
        item_count,
        {{ pounds('total_amount', 'units_per_pound') }} as gross_amount,
        {{ pounds('refunded_amount', 'units_per_pound') }} as refunded_amount,
        is_cancelled,
        is_refund_capped,
        is_email_valid,
        ordered_at,
        _load_sequence
    from settled
)

select * from final

with orders as (
    select * from {{ ref('int_orders_unified') }}
),

final as (
    select
        order_id,
        customer_id,
        source_system,
        order_status,
        currency,
        cast(line_count as bigint) as line_count,
        cast(item_count as bigint) as item_count,
        cast(units_per_pound as {{ double() }}) as units_per_pound,
        {{ rounded_money('gross_amount') }} as gross_amount,
        {{ rounded_money('refunded_amount') }} as refunded_amount,
        {{ rounded_money('net_amount') }} as net_amount,
        is_cancelled,
        is_guest,
        is_purchase,
        is_refund_capped,
        {{ utc_date('ordered_at') }} as order_date,
        ordered_at,
        cast(_load_sequence as bigint) as _load_sequence
    from orders
)

select * from final

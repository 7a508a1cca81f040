with order_lines as (
    select * from {{ used(ref('stg_shop__order_lines')) }}
),

refunds as (
    select * from {{ used(ref('stg_shop__refunds')) }}
),

orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

-- What belongs to an order that does not count goes with it, for the order's own reason.
refused_orders as (
    select
        shop_order_id,
        min(substr(disposition, length('quarantined:') + 1)) as reason
    from {{ ref('stg_shop__orders') }}
    where disposition like 'quarantined:%' and shop_order_id is not null
    group by shop_order_id
),

lost_lines as (
    select
        'shop' as source_name,
        'order_lines' as entity_name,
        order_lines.shop_order_line_id as row_id,
        coalesce(refused_orders.reason, 'unknown_order') as reason,
        order_lines.updated_at as event_at,
        order_lines._load_sequence,
        order_lines._row_hash
    from order_lines
    left join orders on order_lines.shop_order_id = orders.shop_order_id
    left join refused_orders on order_lines.shop_order_id = refused_orders.shop_order_id
    where orders.shop_order_id is null
),

lost_refunds as (
    select
        'shop' as source_name,
        'refunds' as entity_name,
        refunds.shop_refund_id as row_id,
        coalesce(refused_orders.reason, 'unknown_order') as reason,
        refunds.refunded_at as event_at,
        refunds._load_sequence,
        refunds._row_hash
    from refunds
    left join orders on refunds.shop_order_id = orders.shop_order_id
    left join refused_orders on refunds.shop_order_id = refused_orders.shop_order_id
    where orders.shop_order_id is null
),

united as (
    select * from lost_lines
    union all
    select * from lost_refunds
),

final as (
    select
        source_name,
        entity_name,
        reason,
        event_at,
        _load_sequence,
        {{ row_key(['row_id']) }} as row_key
    from united
)

select * from final

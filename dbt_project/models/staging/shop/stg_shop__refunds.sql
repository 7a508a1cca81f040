{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='shop_refund_id') }}

with landed as (
    select * from {{ landed(source('shop', 'refunds')) }}
),

renamed as (
    select
        refund_id as shop_refund_id,
        order_id as shop_order_id,
        reason as refund_reason,
        {{ money('amount') }} as refund_amount,
        refunded_at,
        updated_at,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ disposition(
            key=['shop_refund_id'],
            event_time='greatest(refunded_at, updated_at)',
            quarantined={
                'missing_key': 'shop_refund_id is null or shop_order_id is null',
                'missing_time': 'refunded_at is null or updated_at is null',
                'non_positive_amount': 'refund_amount is null or refund_amount <= 0',
            },
            repeated='superseded',
        ) }} as disposition
    from {{ with_known_versions('renamed', key='shop_refund_id') }} as versions
)

select * from final

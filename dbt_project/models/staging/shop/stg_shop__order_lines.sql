{{ config(
    materialized='incremental', incremental_strategy='delete+insert', unique_key='shop_order_line_id'
) }}

with landed as (
    select * from {{ landed(source('shop', 'order_lines')) }}
),

renamed as (
    select
        order_line_id as shop_order_line_id,
        order_id as shop_order_id,
        product_id as shop_product_id,
        cast(quantity as bigint) as quantity,
        {{ money('unit_price') }} as unit_price,
        {{ money('line_amount') }} as line_amount,
        updated_at,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ disposition(
            key=['shop_order_line_id'],
            event_time='updated_at',
            quarantined={
                'missing_key': 'shop_order_line_id is null or shop_order_id is null',
                'missing_time': 'updated_at is null',
                'non_positive_quantity': 'quantity is null or quantity <= 0',
                'negative_price': 'unit_price is null or unit_price < 0',
            },
            repeated='superseded',
        ) }} as disposition
    from {{ with_known_versions('renamed', key='shop_order_line_id') }} as versions
)

select * from final

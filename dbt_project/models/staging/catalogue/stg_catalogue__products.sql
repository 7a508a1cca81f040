with landed as (
    select * from {{ landed(source('catalogue', 'products')) }}
),

renamed as (
    select
        product_id as shop_product_id,
        name as product_name,
        description,
        category,
        currency,
        {{ money('price') }} as price,
        cast(stock_quantity as bigint) as stock_quantity,
        created_at,
        updated_at,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ disposition(
            key=['shop_product_id'],
            event_time='updated_at',
            quarantined={
                'missing_key': 'shop_product_id is null',
                'missing_time': 'updated_at is null',
            },
            repeated='superseded',
        ) }} as disposition
    from renamed
)

select * from final

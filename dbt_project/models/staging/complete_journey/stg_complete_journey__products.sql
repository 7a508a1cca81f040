with landed as (
    select * from {{ landed(source('complete_journey', 'products')) }}
),

renamed as (
    select
        cast(product_id as varchar) as journey_product_id,
        cast(manufacturer_id as varchar) as manufacturer_id,
        {{ tidy_text('department') }} as department,
        {{ tidy_text('brand') }} as brand_kind,
        {{ tidy_text('product_category') }} as product_category,
        {{ tidy_text('product_type') }} as product_type,
        {{ tidy_text('package_size') }} as package_size,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ timeless_disposition(
            key=['journey_product_id'],
            quarantined={'missing_key': 'journey_product_id is null'},
        ) }} as disposition
    from renamed
)

select * from final

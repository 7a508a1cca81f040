with products as (
    select * from {{ ref('int_products_unified') }}
),

final as (
    select
        product_id,
        source_system,
        product_name,
        category,
        product_kind,
        cast(name_count as bigint) as name_count,
        {{ rounded_money('price') }} as price,
        is_product
    from products
)

select * from final

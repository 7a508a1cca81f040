with products as (
    select * from {{ used(ref('stg_catalogue__products')) }}
),

descriptions as (
    select * from {{ ref('int_descriptions_ranked') }}
),

catalogued as (
    select
        'shop:' || shop_product_id as product_id,
        'shop' as source_system,
        product_name,
        category,
        'product' as product_kind,
        1 as name_count,
        price,
        true as is_product
    from products
),

described as (
    select
        'online_retail:' || stock_code as product_id,
        'online_retail' as source_system,
        description as product_name,
        cast(null as varchar) as category,
        line_kind as product_kind,
        name_count,
        latest_price as price,
        line_kind = 'product' as is_product
    from descriptions
    where description_rank = 1
),

final as (
    select * from catalogued
    union all
    select * from described
)

select * from final

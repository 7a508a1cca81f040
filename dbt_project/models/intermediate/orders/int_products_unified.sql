with products as (
    select * from {{ used(ref('stg_catalogue__products')) }}
),

descriptions as (
    select * from {{ ref('int_descriptions_ranked') }}
),

journey_products as (
    select * from {{ ref('int_basket_products_priced') }}
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
        stock_quantity,
        true as is_product,
        created_at
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
        cast(null as bigint) as stock_quantity,
        line_kind = 'product' as is_product,
        cast(null as timestamptz) as created_at
    from descriptions
    where description_rank = 1
),

-- The source has no names: the finest type and the package say most.
typed as (
    select
        'complete_journey:' || journey_product_id as product_id,
        'complete_journey' as source_system,
        case
            when package_size is null then product_type
            else product_type || ', ' || package_size
        end as product_name,
        product_category as category,
        product_kind,
        case when product_type is null then 0 else 1 end as name_count,
        price,
        cast(null as bigint) as stock_quantity,
        product_kind = 'product' as is_product,
        cast(null as timestamptz) as created_at
    from journey_products
),

final as (
    select * from catalogued
    union all
    select * from described
    union all
    select * from typed
)

select * from final

{{ config(alias='products', materialized='view') }}

with products as (
    select * from {{ ref('int_products_unified') }}
),

-- Where a source counts no stock, what it sells is in stock.
final as (
    select
        product_id,
        product_name,
        category,
        {{ rounded_money('price') }} as price,
        coalesce(stock_quantity > 0, true) as is_in_stock,
        created_at,
        {{ as_of() }} as as_of
    from products
    where is_product
)

select * from final

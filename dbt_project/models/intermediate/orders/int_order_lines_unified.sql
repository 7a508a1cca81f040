{{ config(materialized='view') }}

-- Two models read a part of it each: to join it twice costs less than to write it once.
with orders as (
    select * from {{ ref('int_orders_unified') }}
),

shop_lines as (
    select * from {{ used(ref('stg_shop__order_lines')) }}
),

invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

basket_lines as (
    select * from {{ ref('int_basket_lines_measured') }}
),

products as (
    select * from {{ ref('int_products_unified') }}
),

united as (
    select
        'shop:' || shop_order_line_id as order_line_id,
        'shop:' || shop_order_id as order_id,
        'shop:' || shop_product_id as product_id,
        quantity,
        line_amount
    from shop_lines
    union all
    select
        'online_retail:' || file_name || ':' || cast(line_number as varchar) as order_line_id,
        'online_retail:' || invoice_number as order_id,
        'online_retail:' || stock_code as product_id,
        quantity,
        line_amount
    from invoice_lines
    union all
    select
        basket_line_id as order_line_id,
        'complete_journey:' || basket_id as order_id,
        'complete_journey:' || journey_product_id as product_id,
        quantity,
        sales_amount as line_amount
    from basket_lines
    where is_item
),

final as (
    select
        united.order_line_id,
        united.order_id,
        orders.customer_id,
        united.product_id,
        products.category,
        united.quantity,
        {{ pounds('united.line_amount', 'orders.units_per_pound', digits=4) }} as line_amount,
        orders.is_purchase,
        orders.ordered_at,
        coalesce(products.is_product, true) as is_product
    from united
    inner join orders on united.order_id = orders.order_id
    left join products on united.product_id = products.product_id
)

select * from final

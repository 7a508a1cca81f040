{{ config(alias='customer_order_lines', materialized='view') }}

with lines as (
    select * from {{ ref('int_order_lines_unified') }}
),

final as (
    select
        customer_id,
        order_line_id,
        order_id,
        product_id,
        category,
        cast(quantity as {{ double() }}) as quantity,
        cast(line_amount as {{ double() }}) as line_amount,
        ordered_at
    from lines
    where is_purchase and is_product and customer_id is not null
)

select * from final

{{ config(materialized='view') }}

-- One model reads it: it is written nowhere.
with lines as (
    select * from {{ ref('int_order_lines_unified') }}
),

bought as (
    select
        customer_id,
        category,
        count(*) as line_count,
        sum(quantity) as item_count,
        sum(line_amount) as amount
    from lines
    where is_purchase and customer_id is not null and category is not null
    group by customer_id, category
),

final as (
    select
        customer_id,
        category,
        line_count,
        item_count,
        amount,
        row_number() over (
            partition by customer_id
            order by amount desc, item_count desc, category asc
        ) as category_rank
    from bought
)

select * from final

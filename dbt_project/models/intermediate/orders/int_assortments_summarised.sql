with lines as (
    select * from {{ ref('int_order_lines_unified') }}
),

final as (
    select
        customer_id,
        count(distinct case when is_product then product_id end) as distinct_products,
        count(distinct category) as category_count,
        count(category) as categorised_line_count
    from lines
    where is_purchase and customer_id is not null
    group by customer_id
)

select * from final

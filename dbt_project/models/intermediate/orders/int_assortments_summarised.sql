with lines as (
    select * from {{ ref('int_order_lines_unified') }}
),

categories as (
    select * from {{ ref('int_categories_ranked') }}
),

products as (
    select
        customer_id,
        count(distinct case when is_product then product_id end) as distinct_products
    from lines
    where is_purchase and customer_id is not null
    group by customer_id
),

amounts as (
    select
        customer_id,
        count(*) as category_count,
        sum(line_count) as categorised_line_count,
        sum(case when amount > 0 then amount else 0 end) as category_amount,
        sum(
            case
                when amount > 0
                    then cast(amount as {{ double() }}) * ln(cast(amount as {{ double() }}))
                else 0
            end
        ) as weighted_logarithm,
        max(case when category_rank = 1 then category end) as favourite_category,
        max(case when category_rank = 1 and amount > 0 then amount end) as favourite_amount
    from categories
    group by customer_id
),

-- Shannon's entropy of the shares p of the amount: - sum(p ln p) = ln(total) - sum(a ln a) / total, of
-- the amounts a.
final as (
    select
        products.customer_id,
        products.distinct_products,
        amounts.favourite_category,
        coalesce(amounts.category_count, 0) as category_count,
        coalesce(amounts.categorised_line_count, 0) as categorised_line_count,
        {{ share('amounts.favourite_amount', 'amounts.category_amount') }} as favourite_category_share,
        {{ rounded(
            'ln(nullif(cast(amounts.category_amount as ' ~ double() ~ '), 0))'
            ~ ' - amounts.weighted_logarithm / nullif(cast(amounts.category_amount as ' ~ double() ~ '), 0)',
            6
        ) }} as category_entropy
    from products
    left join amounts on products.customer_id = amounts.customer_id
)

select * from final

-- A comma parts the values of a list and stands in none of them: it holds as many as were ranked.
with suggestions as (
    select * from {{ ref('fct_customer_suggestions') }}
),

items as (
    select
        customer_id,
        sum(
            case
                when model_name = 'category_affinity' and item_rank <= {{ var('suggested_interests') }} then 1
                else 0
            end
        ) as interest_count,
        sum(
            case
                when item_id like '%,%' then 0
                when model_name = 'recommendations' and item_rank <= {{ var('suggested_products') }} then 1
                else 0
            end
        ) as product_count
    from {{ ref('fct_customer_items') }}
    group by customer_id
),

counted as (
    select
        items.customer_id,
        items.interest_count,
        items.product_count,
        {{ comma_list_length('suggestions.predicted_interests') }} as listed_interests,
        {{ comma_list_length('suggestions.recommended_product_ids') }} as listed_ids,
        {{ comma_list_length('suggestions.recommended_product_names') }} as listed_names
    from items
    left join suggestions on items.customer_id = suggestions.customer_id
    where items.customer_id <> '(anonymous)'
)

select * from counted
where interest_count <> listed_interests or product_count <> listed_ids or product_count <> listed_names

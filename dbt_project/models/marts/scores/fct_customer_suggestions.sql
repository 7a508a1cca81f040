with items as (
    select * from {{ ref('fct_customer_items') }}
    where customer_id <> '(anonymous)'
),

products as (
    select * from {{ ref('dim_products') }}
),

interests as (
    select
        customer_id,
        {{ comma_list(without_commas('item_id'), 'item_rank') }} as predicted_interests
    from items
    where model_name = 'category_affinity' and item_rank <= {{ var('suggested_interests') }}
    group by customer_id
),

-- An id cannot be changed: a product whose own has a comma stands in no list.
recommendations as (
    select
        items.customer_id,
        {{ comma_list('items.item_id', 'items.item_rank') }} as recommended_product_ids,
        {{ comma_list(without_commas('coalesce(products.product_name, items.item_id)'), 'items.item_rank') }}
            as recommended_product_names
    from items
    left join products on items.item_id = products.product_id
    where
        items.model_name = 'recommendations'
        and items.item_rank <= {{ var('suggested_products') }}
        and items.item_id not like '%,%'
    group by items.customer_id
),

final as (
    select
        coalesce(interests.customer_id, recommendations.customer_id) as customer_id,
        interests.predicted_interests,
        recommendations.recommended_product_ids,
        recommendations.recommended_product_names,
        {{ as_of() }} as as_of
    from interests
    full outer join recommendations on interests.customer_id = recommendations.customer_id
)

select * from final

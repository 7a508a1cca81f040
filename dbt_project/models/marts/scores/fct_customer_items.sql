with items as (
    select * from {{ latest_sets(ref('stg_scores__items')) }} as latest
),

customers as (
    select * from {{ ref('dim_customers') }}
),

final as (
    select
        items.model_name,
        items.model_version,
        items.customer_id,
        items.item_id,
        items.reason,
        items.item_rank,
        items.score,
        items.scored_as_of as as_of
    from items
    left join customers on items.customer_id = customers.customer_id
    where customers.customer_id is not null or items.customer_id = '(anonymous)'
)

select * from final

with items as (
    select * from {{ ref('stg_scores__items') }}
),

customers as (
    select * from {{ ref('dim_customers') }}
),

-- Of each model the latest set counts, whole, as with scores.
ranked as (
    select
        *,
        dense_rank() over (
            partition by model_name
            order by scored_as_of desc, _load_sequence desc, model_version desc
        ) as set_rank
    from items
),

final as (
    select
        ranked.model_name,
        ranked.model_version,
        ranked.customer_id,
        ranked.item_id,
        ranked.reason,
        ranked.item_rank,
        ranked.score,
        ranked.scored_as_of as as_of
    from ranked
    left join customers on ranked.customer_id = customers.customer_id
    where
        ranked.set_rank = 1
        and (customers.customer_id is not null or ranked.customer_id = '(anonymous)')
)

select * from final

with scores as (
    select * from {{ ref('stg_scores__scores') }}
),

customers as (
    select * from {{ ref('dim_customers') }}
),

-- Of each model the latest set of scores counts, whole: nobody keeps a score of an older one.
ranked as (
    select
        *,
        dense_rank() over (
            partition by model_name
            order by scored_as_of desc, _load_sequence desc, model_version desc
        ) as set_rank
    from scores
),

final as (
    select
        ranked.model_name,
        ranked.model_version,
        ranked.customer_id,
        ranked.tier,
        ranked.reasons,
        ranked.details,
        ranked.score,
        ranked.decile,
        ranked.scored_as_of as as_of
    from ranked
    inner join customers on ranked.customer_id = customers.customer_id
    where ranked.set_rank = 1
)

select * from final

with scores as (
    select * from {{ latest_sets(ref('stg_scores__scores')) }} as latest
),

customers as (
    select * from {{ ref('dim_customers') }}
),

final as (
    select
        scores.model_name,
        scores.model_version,
        scores.customer_id,
        scores.tier,
        scores.reasons,
        scores.details,
        scores.score,
        scores.decile,
        scores.scored_as_of as as_of
    from scores
    inner join customers on scores.customer_id = customers.customer_id
)

select * from final

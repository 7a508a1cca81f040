with suppressions as (
    select * from {{ ref('int_suppressions_collected') }}
    where rejection_reason is null and lifted_at is null
),

severities as (
    select * from {{ ref('consent_decisions') }}
),

ranked as (
    select
        suppressions.customer_id,
        suppressions.decision as suppression_reason,
        suppressions.recorded_at as suppressed_at,
        row_number() over (
            partition by suppressions.customer_id
            order by severities.severity, suppressions.recorded_at, suppressions.decision_id
        ) as reason_rank
    from suppressions
    inner join severities on suppressions.decision = severities.decision
),

final as (
    select
        customer_id,
        suppression_reason,
        suppressed_at
    from ranked
    where reason_rank = 1
)

select * from final

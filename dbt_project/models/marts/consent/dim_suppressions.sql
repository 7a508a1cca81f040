with people as (
    select * from {{ ref('int_suppressions_resolved') }}
),

suppressions as (
    select * from {{ ref('int_suppressions_collected') }}
    where lifted_at is null and address_hash is not null
),

severities as (
    select * from {{ ref('consent_decisions') }}
),

-- An address stays suppressed although nobody has it now: somebody may again.
addresses as (
    select
        suppressions.address_hash,
        suppressions.decision as suppression_reason,
        suppressions.recorded_at as suppressed_at,
        row_number() over (
            partition by suppressions.address_hash
            order by severities.severity, suppressions.recorded_at, suppressions.decision_id
        ) as reason_rank
    from suppressions
    inner join severities on suppressions.decision = severities.decision
),

united as (
    select
        'person' as subject_kind,
        customer_id,
        cast(null as varchar) as address_hash,
        suppression_reason,
        suppressed_at
    from people
    union all
    select
        'address' as subject_kind,
        cast(null as varchar) as customer_id,
        address_hash,
        suppression_reason,
        suppressed_at
    from addresses
    where reason_rank = 1
),

final as (
    select
        subject_kind,
        customer_id,
        address_hash,
        suppression_reason,
        suppressed_at,
        subject_kind || ':' || coalesce(customer_id, address_hash) as suppression_id
    from united
)

select * from final

with consents as (
    select * from {{ ref('int_consents_judged') }}
),

suppressions as (
    select * from {{ ref('int_suppressions_collected') }}
),

-- An erasure is about every channel that anybody uses.
channels as (
    select
        channel,
        'erased' as decision
    from consents
    group by channel
    union
    select
        'email' as channel,
        decision
    from suppressions
    group by decision
),

united as (
    select
        'crm:' || consent_id as decision_id,
        customer_id,
        channel,
        consent_status as decision,
        source_customer_key as subject_key,
        consent_source as decision_source,
        wording_version,
        consent_proof as decision_proof,
        cast(null as varchar) as campaign_id,
        rejection_reason,
        account_state,
        recorded_at
    from consents
    union all
    select
        suppressions.decision_id,
        suppressions.customer_id,
        channels.channel,
        suppressions.decision,
        suppressions.subject_key,
        suppressions.decision_source,
        cast(null as varchar) as wording_version,
        suppressions.decision_proof,
        suppressions.campaign_id,
        suppressions.rejection_reason,
        cast(null as varchar) as account_state,
        suppressions.recorded_at
    from suppressions
    inner join channels on suppressions.decision = channels.decision
    union all
    select
        decision_id,
        customer_id,
        'email' as channel,
        'lifted' as decision,
        subject_key,
        'opt_in' as decision_source,
        cast(null as varchar) as wording_version,
        lift_proof as decision_proof,
        campaign_id,
        rejection_reason,
        cast(null as varchar) as account_state,
        lifted_at as recorded_at
    from suppressions
    where lifted_at is not null
),

final as (
    select
        *,
        decision_id
        || ':'
        || coalesce(customer_id, 'nobody')
        || case when decision in ('erased', 'lifted') then ':' || channel || ':' || decision else '' end
            as consent_change_id
    from united
)

select * from final

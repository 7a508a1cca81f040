with consents as (
    select * from {{ ref('int_consents_judged') }}
    where customer_id is not null
),

accounts as (
    select
        customer_id,
        source_customer_key,
        channel,
        max(case when consent_status = 'withdrawn' and rejection_reason is null then recorded_at end)
            as withdrawn_at,
        max(case when opted_in_at is not null then recorded_at end) as opted_in_at,
        min(case when consent_status = 'granted' and rejection_reason is null then recorded_at end)
            as first_granted_at,
        max(recorded_at) as last_recorded_at
    from consents
    group by customer_id, source_customer_key, channel
),

-- An account speaks by its last withdrawal, or by its person's last own opt-in; an import that repeats itself
-- makes no consent younger than it is.
speaking as (
    select
        customer_id,
        channel,
        case
            when opted_in_at > withdrawn_at then 'granted'
            when withdrawn_at is not null then 'withdrawn'
            when first_granted_at is not null then 'granted'
            else 'requested'
        end as consent_state,
        case
            when opted_in_at > withdrawn_at then opted_in_at
            when withdrawn_at is not null then withdrawn_at
            else coalesce(opted_in_at, first_granted_at, last_recorded_at)
        end as changed_at
    from accounts
),

-- Of several accounts the most restrictive speaks: of withdrawals the last one, of opt-ins the oldest.
severities as (
    select
        customer_id,
        channel,
        min(case consent_state when 'withdrawn' then 1 when 'requested' then 2 else 3 end) as severity,
        max(case when consent_state = 'withdrawn' then changed_at end) as withdrawn_at,
        max(case when consent_state = 'requested' then changed_at end) as requested_at,
        min(case when consent_state = 'granted' then changed_at end) as granted_at
    from speaking
    group by customer_id, channel
),

states as (
    select
        customer_id,
        channel,
        case severity when 1 then 'withdrawn' when 2 then 'requested' else 'granted' end as consent_state,
        case severity when 1 then withdrawn_at when 2 then requested_at else granted_at end as changed_at
    from severities
),

ranked as (
    select
        states.customer_id,
        states.channel,
        states.consent_state,
        consents.consent_source,
        consents.wording_version,
        consents.consent_proof,
        states.changed_at,
        consents.opted_in_at,
        row_number() over (
            partition by states.customer_id, states.channel
            order by consents.consent_id
        ) as record_rank
    from states
    inner join consents
        on
            states.customer_id = consents.customer_id
            and states.channel = consents.channel
            and states.changed_at = consents.recorded_at
            and states.consent_state = consents.account_state
    where
        states.consent_state = 'requested'
        or (states.consent_state = consents.consent_status and consents.rejection_reason is null)
),

final as (
    select
        customer_id,
        channel,
        consent_state,
        consent_source,
        wording_version,
        changed_at,
        case when consent_state = 'granted' then consent_proof end as consent_proof,
        case when consent_state = 'granted' then coalesce(opted_in_at, changed_at) end as opted_in_at
    from ranked
    where record_rank = 1
)

select * from final

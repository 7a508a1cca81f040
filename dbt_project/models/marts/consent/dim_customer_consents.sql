with customers as (
    select * from {{ ref('int_customers_merged') }}
),

consents as (
    select * from {{ ref('int_channel_consents_resolved') }}
),

suppressions as (
    select * from {{ ref('int_suppressions_resolved') }}
),

-- Everybody has a state for e-mail, and one for each other channel that a record names.
united as (
    select
        customers.customer_id,
        'email' as channel,
        consents.consent_source,
        consents.wording_version,
        consents.consent_proof,
        consents.changed_at,
        coalesce(consents.consent_state, 'none') as consent_state
    from customers
    left join consents on customers.customer_id = consents.customer_id and consents.channel = 'email'
    union all
    select
        customer_id,
        channel,
        consent_source,
        wording_version,
        consent_proof,
        changed_at,
        consent_state
    from consents
    where channel <> 'email'
),

-- Unsubscribes, complaints and bounces are e-mail's; whoever was erased is written to nowhere.
judged as (
    select
        united.*,
        case
            when united.channel = 'email' or suppressions.suppression_reason = 'erased'
                then suppressions.suppression_reason
        end as suppression_reason
    from united
    left join suppressions on united.customer_id = suppressions.customer_id
),

final as (
    select
        customer_id,
        channel,
        consent_state,
        consent_source,
        wording_version,
        consent_proof,
        changed_at,
        case
            when suppression_reason is not null then suppression_reason
            when consent_state = 'withdrawn' then 'consent_withdrawn'
            when consent_state = 'requested' then 'consent_unconfirmed'
            when consent_state = 'none' then 'no_consent'
        end as refusal_reason,
        suppression_reason is null and consent_state = 'granted' as is_sendable
    from judged
)

select * from final

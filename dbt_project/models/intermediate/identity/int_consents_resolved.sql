with consents as (
    select * from {{ used(ref('stg_crm__consents')) }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

-- Of records at the same instant the withdrawal counts.
ranked as (
    select
        identifiers.customer_id,
        consents.consent_status,
        consents.consent_proof,
        consents.recorded_at,
        row_number() over (
            partition by consents.shop_customer_id
            order by consents.recorded_at desc, consents.consent_status desc, consents.consent_id desc
        ) as record_rank
    from consents
    inner join identifiers on 'shop:' || consents.shop_customer_id = identifiers.source_customer_key
    where consents.channel = 'email'
),

current_states as (
    select * from ranked
    where record_rank = 1
),

-- Among the accounts of one person the most restrictive state counts.
restricted as (
    select
        *,
        row_number() over (
            partition by customer_id
            order by consent_status desc, recorded_at desc, consent_proof asc
        ) as state_rank
    from current_states
),

final as (
    select
        customer_id,
        consent_status as email_consent_status,
        recorded_at as email_consent_changed_at,
        case when consent_status = 'granted' then consent_proof end as consent_proof
    from restricted
    where state_rank = 1
)

select * from final

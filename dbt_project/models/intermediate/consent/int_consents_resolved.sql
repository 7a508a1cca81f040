{{ config(materialized='view') }}

-- One model reads it: it is written nowhere.
with consents as (
    select * from {{ ref('int_channel_consents_resolved') }}
),

-- A request that nobody confirmed is no consent: its person has none.
final as (
    select
        customer_id,
        consent_state as email_consent_status,
        consent_proof,
        coalesce(opted_in_at, changed_at) as email_consent_changed_at
    from consents
    where channel = 'email' and consent_state in ('granted', 'withdrawn')
)

select * from final

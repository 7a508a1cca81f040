-- Consent that cannot be shown is none: each granted state names its proof, and no other state has one.
with consents as (
    select * from {{ ref('dim_customer_consents') }}
)

select
    customer_id,
    channel,
    consent_state
from consents
where (consent_state = 'granted') <> (consent_proof is not null)

-- The hard gate of the sync: a granted consent, its proof, no suppression and a valid address.
-- Everybody else has a reason.
with audience as (
    select * from {{ ref('sync_customers') }}
),

customers as (
    select * from {{ ref('dim_customers') }}
)

select
    audience.customer_id,
    audience.is_eligible,
    audience.refusal_reason
from audience
inner join customers on audience.customer_id = customers.customer_id
where
    (
        audience.is_eligible
        and (
            customers.email_consent_status <> 'granted'
            or audience.consent_proof is null
            or customers.is_email_suppressed
            or audience.email is null
        )
    )
    or audience.is_eligible <> (audience.refusal_reason is null)

-- Two ways to the same gate: whom the sync lets through is sendable by the ledger, and nobody else.
with audience as (
    select * from {{ ref('sync_customers') }}
),

consents as (
    select * from {{ ref('dim_customer_consents') }}
    where channel = 'email'
)

select
    audience.customer_id,
    audience.refusal_reason as refused_by_the_sync,
    consents.refusal_reason as refused_by_the_ledger
from audience
left join consents on audience.customer_id = consents.customer_id
where audience.is_eligible and not coalesce(consents.is_sendable, false)

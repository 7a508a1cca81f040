-- Nothing widens the suppression list: whoever is on it, or has an address that is, gets no e-mail.
with suppressions as (
    select * from {{ ref('dim_suppressions') }}
),

-- The hash of every person's address would cost more than the rest of the test: those of the list are few.
addresses as (
    select distinct events.normalised_email
    from {{ ref('int_email_decisions_collected') }} as events
    inner join suppressions on events.address_hash = suppressions.address_hash
),

consents as (
    select * from {{ ref('dim_customer_consents') }}
    where channel = 'email' and is_sendable
),

customers as (
    select * from {{ ref('int_customers_merged') }}
)

select consents.customer_id
from consents
inner join suppressions on consents.customer_id = suppressions.customer_id
union all
select consents.customer_id
from consents
inner join customers on consents.customer_id = customers.customer_id
inner join addresses on customers.normalised_email = addresses.normalised_email

-- Two people who may be mailed at one mailbox would get everything twice, and each would read the other's.
-- Addresses are compared as people are joined by them: ann+shop@… is the mailbox of ann@….
with audience as (
    select * from {{ ref('sync_customers') }}
),

addressed as (
    select
        customer_id,
        {{ normalised_email('email') }} as normalised_email
    from audience
    where is_eligible
)

select
    normalised_email,
    count(*) as person_count
from addressed
group by normalised_email
having count(*) > 1

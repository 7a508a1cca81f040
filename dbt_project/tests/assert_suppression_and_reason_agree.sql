-- Whoever is suppressed has a reason, and a reason suppresses.
with customers as (
    select * from {{ ref('dim_customers') }}
)

select
    customer_id,
    is_email_suppressed,
    email_suppression_reason
from customers
where is_email_suppressed <> (email_suppression_reason is not null)

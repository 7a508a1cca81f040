-- The sync refuses people by a reason that is counted, never by leaving them out.
with audience as (
    select * from {{ ref('sync_customers') }}
),

customers as (
    select * from {{ ref('dim_customers') }}
)

select
    customers.customer_id as known_id,
    audience.customer_id as audience_id
from customers
full outer join audience on customers.customer_id = audience.customer_id
where customers.customer_id is null or audience.customer_id is null

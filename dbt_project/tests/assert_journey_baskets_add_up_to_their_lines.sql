-- Measuring fuel and summing baskets may neither make nor lose a cent of what the store received.
with transactions as (
    select * from {{ used(ref('stg_complete_journey__transactions')) }}
),

baskets as (
    select * from {{ ref('int_baskets_summarised') }}
),

received as (
    select coalesce(sum(sales_amount), 0) as amount
    from transactions
),

summed as (
    select coalesce(sum(sales_amount), 0) as amount
    from baskets
)

select
    received.amount as received_amount,
    summed.amount as summed_amount
from received
cross join summed
where received.amount <> summed.amount

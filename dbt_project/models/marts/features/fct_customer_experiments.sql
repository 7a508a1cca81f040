{{ config(alias='experiments', materialized='view') }}

with messages as (
    select * from {{ ref('fct_email_messages') }}
),

changes as (
    select * from {{ ref('fct_consent_changes') }}
),

customers as (
    select * from {{ ref('dim_customers') }}
),

-- A campaign that holds back readers by lot, and when it was begun.
campaigns as (
    select
        campaign_id,
        min(sent_at) as assigned_at
    from messages
    where {{ matches('campaign_id', var('held_out_campaigns')) }}
    group by campaign_id
    having {{ days_between('min(sent_at)', as_of()) }} < {{ var('experiment_days') }}
),

states as (
    select
        customer_id,
        state_after,
        recorded_at,
        lead(recorded_at) over (partition by customer_id order by decision_number) as next_recorded_at
    from changes
    where channel = 'email' and customer_id is not null
),

mailed as (
    select distinct
        campaign_id,
        customer_id
    from messages
    where sent_at is not null and customer_id is not null
),

-- People with one account of the shop: others had two lots.
accounts as (
    select customer_id
    from {{ ref('dim_customer_identities') }}
    where source_system = 'shop' and identifier_kind = 'account'
    group by customer_id
    having count(*) = 1
),

-- Whoever could be written to when the lots were drawn.
entitled as (
    select
        states.customer_id,
        campaigns.campaign_id,
        campaigns.assigned_at
    from campaigns
    inner join states
        on
            campaigns.assigned_at > states.recorded_at
            and campaigns.assigned_at <= coalesce(states.next_recorded_at, campaigns.assigned_at)
    inner join customers on states.customer_id = customers.customer_id
    inner join accounts on states.customer_id = accounts.customer_id
    where
        states.state_after = 'granted'
        and customers.email is not null
        and not customers.has_invalid_email
        and not customers.is_email_shared
),

final as (
    select
        entitled.customer_id,
        entitled.campaign_id as experiment_id,
        entitled.assigned_at,
        case when mailed.customer_id is null then 'control' else 'treated' end as arm
    from entitled
    left join mailed
        on entitled.customer_id = mailed.customer_id and entitled.campaign_id = mailed.campaign_id
)

select * from final

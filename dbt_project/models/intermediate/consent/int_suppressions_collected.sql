with events as (
    select * from {{ ref('int_email_decisions_collected') }}
),

erasures as (
    select * from {{ ref('stg_history__erasures') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

customers as (
    select * from {{ ref('int_customers_merged') }}
),

touches as (
    select * from {{ ref('int_identifiers_touched') }}
),

lifts as (
    select * from {{ ref('int_unsubscribes_lifted') }}
),

reached as (
    select distinct
        decision_id,
        customer_id
    from touches
),

-- A hard bounce belongs to the address: it ends when the person has another one.
stopped as (
    select
        events.decision_id,
        events.decision,
        reached.customer_id,
        events.address_hash,
        events.campaign_id,
        events.source_system as decision_source,
        events.email_message_id as decision_proof,
        coalesce(
            events.source_customer_key,
            'email:' || events.address_hash,
            'person:' || events.stated_customer_id
        )
            as subject_key,
        case
            when reached.customer_id is null then 'unknown_customer'
            when events.decision = 'bounced' and events.normalised_email <> customers.normalised_email
                then 'another_address'
        end as rejection_reason,
        events.occurred_at as recorded_at,
        lifts.lifted_at,
        lifts.consent_proof as lift_proof
    from events
    left join reached on events.decision_id = reached.decision_id
    left join customers on reached.customer_id = customers.customer_id
    left join lifts on events.decision_id = lifts.decision_id
),

erased_people as (
    select distinct
        erasures.address_hash,
        identifiers.customer_id
    from erasures
    inner join identifiers on erasures.address_hash = {{ keyed_hash('identifiers.normalised_email') }}
),

erased as (
    select
        'erasure:' || erasures.address_hash as decision_id,
        'erased' as decision,
        erased_people.customer_id,
        erasures.address_hash,
        cast(null as varchar) as campaign_id,
        'erasure' as decision_source,
        erasures.erasure_id as decision_proof,
        'email:' || erasures.address_hash as subject_key,
        case when erased_people.customer_id is null then 'unknown_customer' end as rejection_reason,
        erasures.erased_at as recorded_at,
        cast(null as timestamptz) as lifted_at,
        cast(null as varchar) as lift_proof
    from erasures
    left join erased_people on erasures.address_hash = erased_people.address_hash
),

united as (
    select * from stopped
    union all
    select * from erased
),

final as (
    select
        *,
        decision_id || ':' || coalesce(customer_id, 'nobody') as suppression_id
    from united
)

select * from final

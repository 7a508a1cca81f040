with events as (
    select * from {{ ref('int_email_decisions_collected') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

-- A person whose id has changed since the mail was sent is found by the identifiers that it had then.
former_ids as (
    select
        old_customer_id as customer_id,
        source_customer_key
    from {{ ref('stg_history__identity_changes') }}
    where changed_as_of < {{ as_of() }}
),

-- Mail to an account is about that account, mail to a person about all of the person's, and either about
-- everybody who has the address.
united as (
    select
        events.decision_id,
        identifiers.source_customer_key,
        identifiers.customer_id,
        case when identifiers.identifier_kind = 'account' then 1 else 0 end as is_stated
    from events
    inner join identifiers on events.source_customer_key = identifiers.source_customer_key
    union all
    select
        events.decision_id,
        identifiers.source_customer_key,
        identifiers.customer_id,
        case when identifiers.identifier_kind = 'account' then 1 else 0 end as is_stated
    from events
    inner join identifiers on events.normalised_email = identifiers.normalised_email
    union all
    select
        events.decision_id,
        identifiers.source_customer_key,
        identifiers.customer_id,
        0 as is_stated
    from events
    inner join identifiers on events.stated_customer_id = identifiers.customer_id
    union all
    select
        events.decision_id,
        identifiers.source_customer_key,
        identifiers.customer_id,
        0 as is_stated
    from events
    inner join former_ids on events.stated_customer_id = former_ids.customer_id
    inner join identifiers on former_ids.source_customer_key = identifiers.source_customer_key
),

final as (
    select
        decision_id,
        source_customer_key,
        customer_id,
        max(is_stated) = 1 as is_stated
    from united
    group by decision_id, source_customer_key, customer_id
)

select * from final

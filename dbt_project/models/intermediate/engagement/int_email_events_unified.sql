with shop_events as (
    select * from {{ used(ref('stg_email__events')) }}
),

esp_events as (
    select * from {{ used(ref('stg_local_esp__events')) }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

people as (
    select distinct customer_id
    from identifiers
),

emails as (
    select distinct
        normalised_email,
        customer_id
    from identifiers
    where normalised_email is not null
),

united as (
    select
        'shop' as source_system,
        'shop:' || shop_customer_id as source_customer_key,
        cast(null as varchar) as person_id,
        event_id,
        message_id,
        campaign_id,
        campaign_name,
        normalised_email,
        event_type,
        bounce_type,
        url,
        is_machine_open,
        occurred_at,
        _load_sequence
    from shop_events
    union all
    select
        'local_esp' as source_system,
        cast(null as varchar) as source_customer_key,
        customer_id as person_id,
        event_id,
        message_id,
        campaign_id,
        campaign_name,
        normalised_email,
        event_type,
        bounce_type,
        url,
        is_machine_open,
        occurred_at,
        _load_sequence
    from esp_events
),

-- A person whose id has changed since the mail was sent is found by the address.
final as (
    select
        united.source_system,
        united.campaign_id,
        united.campaign_name,
        united.normalised_email,
        united.event_type,
        united.bounce_type,
        united.url,
        united.is_machine_open,
        united.occurred_at,
        united._load_sequence,
        united.source_system || ':' || united.event_id as email_event_id,
        united.source_system || ':' || united.message_id as email_message_id,
        coalesce(identifiers.customer_id, people.customer_id, emails.customer_id) as customer_id,
        united.event_type in ('open', 'click') and not united.is_machine_open as is_engagement
    from united
    left join identifiers on united.source_customer_key = identifiers.source_customer_key
    left join people on united.person_id = people.customer_id
    left join emails on united.normalised_email = emails.normalised_email
)

select * from final

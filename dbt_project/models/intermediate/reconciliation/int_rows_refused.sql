with consents as (
    select * from {{ used(ref('stg_crm__consents')) }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

shop_rows as (
    select * from {{ ref('int_shop_rows_refused') }}
),

journey_rows as (
    select * from {{ ref('int_journey_rows_refused') }}
),

strangers_consents as (
    select
        'crm' as source_name,
        'consents' as entity_name,
        consents.consent_id as row_id,
        'unknown_customer' as reason,
        consents.recorded_at as event_at,
        consents._load_sequence,
        consents._row_hash
    from consents
    left join identifiers on 'shop:' || consents.shop_customer_id = identifiers.source_customer_key
    where identifiers.source_customer_key is null
),

united as (
    select
        source_name,
        entity_name,
        {{ row_key(['row_id']) }} as row_key,
        reason,
        event_at,
        _load_sequence
    from strangers_consents
    union all
    select
        source_name,
        entity_name,
        row_key,
        reason,
        event_at,
        _load_sequence
    from shop_rows
    union all
    select
        source_name,
        entity_name,
        row_key,
        reason,
        event_at,
        _load_sequence
    from journey_rows
),

final as (
    select * from united
)

select * from final

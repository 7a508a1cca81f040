{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    pre_hook="{% if is_incremental() %} delete from {{ this }} where reason <> 'bot' {% endif %}",
) }}

-- Nearly all of them are bots' events, which stay what they are; the few others are listed anew.
with quarantined as (
    select * from {{ ref('int_rows_quarantined') }}
),

events_quarantined as (
    select * from {{ ref('int_events_quarantined') }}
),

refused as (
    select * from {{ ref('int_rows_refused') }}
),

bot_events as (
    select * from {{ ref('int_bot_events_refused') }}
),

united as (
    select
        source_name,
        entity_name,
        row_key,
        reason,
        row_count,
        event_at,
        _load_sequence
    from quarantined
    union all
    select
        source_name,
        entity_name,
        row_key,
        reason,
        row_count,
        event_at,
        _load_sequence
    from events_quarantined
    union all
    select
        source_name,
        entity_name,
        row_key,
        reason,
        1 as row_count,
        event_at,
        _load_sequence
    from refused
    union all
    select
        'web' as source_name,
        'events' as entity_name,
        {{ row_key(['message_id'], row_hash=keyed_hash('message_id')) }} as row_key,
        'bot' as reason,
        1 as row_count,
        occurred_at as event_at,
        _load_sequence
    from bot_events
    where {{ is_newly_known('occurred_at', 'event_at', among="reason = 'bot'") }}
),

final as (
    select
        source_name,
        entity_name,
        row_key,
        reason,
        cast(row_count as bigint) as row_count,
        event_at,
        cast(_load_sequence as bigint) as _load_sequence
    from united
)

select * from final

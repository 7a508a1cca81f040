{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='email_message_id') }}

{%- set events = ref('int_email_events_unified') %}

with click_events as (
    select * from {{ email_events(
        events, seen='occurred_at', condition="event_type = 'click' and not is_machine_open"
    ) }}
),

receipts as (
    select * from {{ email_events(
        events,
        seen='occurred_at',
        condition="(event_type = 'delivered' or (event_type = 'open' and not is_machine_open))"
    ) }}
),

clicks as (
    select
        email_message_id,
        source_system,
        url,
        occurred_at,
        max(_load_sequence) as _load_sequence
    from click_events
    group by email_message_id, source_system, url, occurred_at
),

arrivals as (
    select
        email_message_id,
        min(case when event_type = 'delivered' then occurred_at end) as delivered_at,
        min(case when event_type = 'open' then occurred_at end) as first_opened_at
    from receipts
    where email_message_id in (select clicks.email_message_id from clicks)
    group by email_message_id
),

-- How many links of the message were followed around each instant at which one was.
bursts as (
    select
        clicks.email_message_id,
        clicks.occurred_at,
        count(distinct neighbours.url) as link_count
    from clicks
    inner join clicks as neighbours
        on
            clicks.email_message_id = neighbours.email_message_id
            and abs({{ seconds_between('clicks.occurred_at', 'neighbours.occurred_at') }})
            <= {{ var('email_scanner_burst_seconds') }}
    group by clicks.email_message_id, clicks.occurred_at
),

measured as (
    select
        clicks.email_message_id,
        clicks.source_system,
        clicks.url,
        clicks.occurred_at,
        clicks._load_sequence,
        bursts.link_count >= {{ var('email_scanner_burst_links') }} as is_burst,
        coalesce(
            {{ seconds_between('arrivals.delivered_at', 'clicks.occurred_at') }} between 0
            and {{ var('email_scanner_arrival_seconds') }},
            false
        )
        and coalesce(arrivals.first_opened_at > clicks.occurred_at, true) as is_on_arrival
    from clicks
    inner join bursts
        on clicks.email_message_id = bursts.email_message_id and clicks.occurred_at = bursts.occurred_at
    left join arrivals on clicks.email_message_id = arrivals.email_message_id
),

final as (
    select
        email_message_id,
        source_system,
        url,
        is_burst,
        is_on_arrival,
        occurred_at,
        _load_sequence,
        is_burst or is_on_arrival as is_suspected_scan
    from measured
)

select * from final

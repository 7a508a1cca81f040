{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='email_message_id') }}

with events as (
    select * from {{ email_events(
        ref('int_email_events_unified'), seen='last_event_at', condition="event_type not in ('sent', 'delivered')"
    ) }}
),

messages as (
    select * from {{ ref('int_email_messages_summarised') }}
),

clicks as (
    select * from {{ ref('int_email_clicks_judged') }}
),

-- What a person's program did counts by its verdict, see int_email_clicks_judged.
responses as (
    select
        events.email_message_id,
        events.event_type,
        events.is_machine_open,
        events.occurred_at,
        events._load_sequence,
        coalesce(clicks.is_suspected_scan, false) as is_suspected_scan
    from events
    left join clicks
        on
            events.event_type = 'click'
            and not events.is_machine_open
            and events.email_message_id = clicks.email_message_id
            and events.occurred_at = clicks.occurred_at
            and coalesce(events.url, '') = coalesce(clicks.url, '')
),

kinds as (
    select
        email_message_id,
        occurred_at,
        _load_sequence,
        case
            when is_suspected_scan then 'suspected_click'
            when is_machine_open then 'machine_' || event_type
            else event_type
        end as response_kind,
        {{ utc_date('occurred_at') }} as event_date
    from responses
),

grouped as (
    select
        email_message_id,
        event_date,
        count(case when response_kind = 'open' then 1 end) as open_count,
        count(case when response_kind = 'click' then 1 end) as click_count,
        count(case when response_kind = 'machine_open' then 1 end) as machine_open_count,
        count(case when response_kind = 'machine_click' then 1 end) as machine_click_count,
        count(case when response_kind = 'suspected_click' then 1 end) as suspected_click_count,
        count(case when response_kind = 'bounce' then 1 end) as bounce_count,
        count(case when response_kind = 'unsubscribe' then 1 end) as unsubscribe_count,
        count(case when response_kind = 'complaint' then 1 end) as complaint_count,
        max(case when response_kind in ('open', 'click') then occurred_at end) as last_engaged_at,
        max(occurred_at) as last_event_at,
        max(_load_sequence) as _load_sequence
    from kinds
    group by email_message_id, event_date
),

final as (
    select
        grouped.email_message_id,
        messages.source_system,
        messages.source_customer_key,
        messages.stated_customer_id,
        messages.campaign_id,
        messages.normalised_email,
        grouped.open_count,
        grouped.click_count,
        grouped.machine_open_count,
        grouped.machine_click_count,
        grouped.suspected_click_count,
        grouped.bounce_count,
        grouped.unsubscribe_count,
        grouped.complaint_count,
        grouped.event_date,
        grouped.last_engaged_at,
        grouped.last_event_at,
        grouped._load_sequence
    from grouped
    inner join messages on grouped.email_message_id = messages.email_message_id
)

select * from final

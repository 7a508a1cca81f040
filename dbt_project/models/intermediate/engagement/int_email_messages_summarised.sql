{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='email_message_id') }}

with events as (
    select * from {{ email_events(ref('int_email_events_unified'), seen='last_event_at') }}
),

clicks as (
    select * from {{ ref('int_email_clicks_judged') }}
),

clicked as (
    select
        email_message_id,
        count(case when not is_suspected_scan then 1 end) as click_count,
        count(case when is_suspected_scan then 1 end) as suspected_click_count,
        min(case when not is_suspected_scan then occurred_at end) as first_clicked_at,
        max(case when not is_suspected_scan then occurred_at end) as last_clicked_at
    from clicks
    group by email_message_id
),

-- Events of a message agree in what they say of it, or leave it out.
grouped as (
    select
        email_message_id,
        source_system,
        max(source_customer_key) as source_customer_key,
        max(stated_customer_id) as stated_customer_id,
        max(campaign_id) as campaign_id,
        max(campaign_name) as campaign_name,
        max(subject) as subject,
        max(normalised_email) as normalised_email,
        count(case when event_type = 'open' and not is_machine_open then 1 end) as open_count,
        count(case when event_type = 'open' and is_machine_open then 1 end) as machine_open_count,
        count(case when event_type = 'click' and is_machine_open then 1 end) as machine_click_count,
        min(case when event_type = 'sent' then occurred_at end) as sent_at,
        min(case when event_type = 'delivered' then occurred_at end) as delivered_at,
        min(case when event_type = 'bounce' and bounce_type = 'hard' then occurred_at end) as hard_bounced_at,
        min(case when event_type = 'bounce' and coalesce(bounce_type <> 'hard', true) then occurred_at end)
            as soft_bounced_at,
        min(case when event_type = 'open' and not is_machine_open then occurred_at end) as first_opened_at,
        max(case when event_type = 'open' and not is_machine_open then occurred_at end) as last_opened_at,
        min(case when event_type = 'unsubscribe' then occurred_at end) as unsubscribed_at,
        min(case when event_type = 'complaint' then occurred_at end) as complained_at,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at,
        max(_load_sequence) as _load_sequence
    from events
    group by email_message_id, source_system
),

final as (
    select
        grouped.email_message_id,
        grouped.source_system,
        grouped.source_customer_key,
        grouped.stated_customer_id,
        grouped.campaign_id,
        grouped.campaign_name,
        grouped.subject,
        grouped.normalised_email,
        grouped.open_count,
        grouped.machine_open_count,
        grouped.machine_click_count,
        grouped.sent_at,
        grouped.delivered_at,
        grouped.hard_bounced_at,
        grouped.soft_bounced_at,
        grouped.first_opened_at,
        grouped.last_opened_at,
        clicked.first_clicked_at,
        clicked.last_clicked_at,
        grouped.unsubscribed_at,
        grouped.complained_at,
        grouped.first_event_at,
        grouped.last_event_at,
        grouped._load_sequence,
        coalesce(clicked.click_count, 0) as click_count,
        coalesce(clicked.suspected_click_count, 0) as suspected_click_count
    from grouped
    left join clicked on grouped.email_message_id = clicked.email_message_id
)

select * from final

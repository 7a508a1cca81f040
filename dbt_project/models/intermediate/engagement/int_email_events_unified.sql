{{ config(materialized='view') }}

{#- The ESPs by the names of their sources; each stages its events with the macro email_events_staged. -#}
{%- set esps = var('esp_sources') %}

with repeated as (
    select * from {{ ref('int_webhook_events_repeated') }}
),

united as (
    select
        'shop' as source_system,
        'shop:' || shop_customer_id as source_customer_key,
        cast(null as varchar) as stated_customer_id,
        event_id,
        message_id,
        campaign_id,
        campaign_name,
        subject,
        normalised_email,
        event_type,
        bounce_type,
        url,
        is_machine_open,
        occurred_at,
        _load_sequence
    from {{ used(ref('stg_email__events'), 'occurred_at') }} as events
    {%- for esp in esps %}
        union all
        select
            '{{ esp }}' as source_system,
            cast(null as varchar) as source_customer_key,
            customer_id as stated_customer_id,
            event_id,
            message_id,
            campaign_id,
            campaign_name,
            subject,
            normalised_email,
            event_type,
            bounce_type,
            url,
            is_machine_open,
            occurred_at,
            _load_sequence
        from {{ used(ref('stg_' ~ esp ~ '__events'), 'occurred_at') }} as events
    {%- endfor %}
    union all
    -- What a vendor told by webhook, where it was not asked for the same.
    select
        events.destination as source_system,
        cast(null as varchar) as source_customer_key,
        events.customer_id as stated_customer_id,
        events.event_id,
        events.message_id,
        events.campaign_id,
        events.campaign_name,
        events.subject,
        events.normalised_email,
        events.event_type,
        events.bounce_type,
        events.url,
        events.is_machine_open,
        events.occurred_at,
        events._load_sequence
    from {{ used(ref('stg_webhooks__events'), 'occurred_at') }} as events
    left join repeated on events.destination = repeated.source_system and events.event_id = repeated.event_id
    where repeated.event_id is null
),

final as (
    select
        *,
        source_system || ':' || message_id as email_message_id
    from united
)

select * from final

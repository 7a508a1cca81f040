{{ config(materialized='view') }}

{#- The ESPs by the names of their sources; each stages its events with the macro email_events_staged. -#}
{%- set esps = ['local_esp', 'klaviyo', 'mailchimp', 'hubspot', 'braze'] %}

with united as (
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
),

final as (
    select
        *,
        source_system || ':' || message_id as email_message_id
    from united
)

select * from final

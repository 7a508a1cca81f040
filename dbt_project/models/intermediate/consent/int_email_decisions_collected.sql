with events as (
    select * from {{ ref('int_email_events_unified') }}
),

final as (
    select
        source_system,
        source_customer_key,
        stated_customer_id,
        campaign_id,
        normalised_email,
        occurred_at,
        email_message_id,
        source_system || ':' || event_id as decision_id,
        {{ keyed_hash('normalised_email') }} as address_hash,
        case event_type
            when 'unsubscribe' then 'unsubscribed' when 'complaint' then 'complained' else 'bounced'
        end
            as decision
    from events
    where
        event_type in ('unsubscribe', 'complaint')
        or (event_type = 'bounce' and bounce_type = 'hard')
)

select * from final

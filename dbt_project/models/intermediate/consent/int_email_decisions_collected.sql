with shop_events as (
    select * from {{ used(ref('stg_email__events'), 'occurred_at') }}
),

esp_events as (
    select * from {{ used(ref('stg_local_esp__events'), 'occurred_at') }}
),

united as (
    select
        'shop' as source_system,
        'shop:' || shop_customer_id as source_customer_key,
        cast(null as varchar) as stated_customer_id,
        event_id,
        message_id,
        campaign_id,
        normalised_email,
        event_type,
        bounce_type,
        occurred_at
    from shop_events
    where event_type in ('unsubscribe', 'complaint', 'bounce')
    union all
    select
        'local_esp' as source_system,
        cast(null as varchar) as source_customer_key,
        customer_id as stated_customer_id,
        event_id,
        message_id,
        campaign_id,
        normalised_email,
        event_type,
        bounce_type,
        occurred_at
    from esp_events
    where event_type in ('unsubscribe', 'complaint', 'bounce')
),

final as (
    select
        source_system,
        source_customer_key,
        stated_customer_id,
        campaign_id,
        normalised_email,
        occurred_at,
        source_system || ':' || event_id as decision_id,
        source_system || ':' || message_id as email_message_id,
        {{ keyed_hash('normalised_email') }} as address_hash,
        case event_type
            when 'unsubscribe' then 'unsubscribed' when 'complaint' then 'complained' else 'bounced'
        end
            as decision
    from united
    where event_type <> 'bounce' or bounce_type = 'hard'
)

select * from final

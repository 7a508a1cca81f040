with events as (
    select * from {{ used(ref('stg_web__events')) }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

final as (
    select
        events.message_id,
        events.anonymous_id,
        events.shop_customer_id,
        events.event_name,
        events.shop_product_id,
        events.category,
        events.page_path,
        events.campaign_source,
        events.campaign_medium,
        events.campaign_name,
        events.occurred_at,
        events._load_sequence,
        coalesce(events.anonymous_id, 'customer:' || events.shop_customer_id) as visitor_key
    from events
    left join agents on events.user_agent = agents.user_agent
    where not coalesce(agents.is_bot, false)
)

select * from final

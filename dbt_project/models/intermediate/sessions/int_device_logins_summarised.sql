{{ config(
    materialized='incremental', incremental_strategy='delete+insert', unique_key=['anonymous_id', 'shop_customer_id']
) }}

with events as (
    select * from {{ used(ref('stg_web__events'), 'occurred_at') }} as used_events
    where {{ is_newly_known('occurred_at', latest='last_seen_at') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

logins as (
    select
        events.anonymous_id,
        events.shop_customer_id,
        count(*) as event_count,
        min(events.occurred_at) as first_seen_at,
        max(events.occurred_at) as last_seen_at,
        max(events._load_sequence) as _load_sequence
    from events
    left join agents on events.user_agent = agents.user_agent
    where
        events.anonymous_id is not null
        and events.shop_customer_id is not null
        and not coalesce(agents.is_bot, false)
    group by events.anonymous_id, events.shop_customer_id
),

seen as (
    select * from logins
    {% if is_incremental() -%}
        union all
        select
            held.anonymous_id,
            held.shop_customer_id,
            held.event_count,
            held.first_seen_at,
            held.last_seen_at,
            held._load_sequence
        from {{ this }} as held
        inner join logins
            on held.anonymous_id = logins.anonymous_id and held.shop_customer_id = logins.shop_customer_id
    {%- endif %}
),

final as (
    select
        anonymous_id,
        shop_customer_id,
        cast(sum(event_count) as bigint) as event_count,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        max(_load_sequence) as _load_sequence
    from seen
    group by anonymous_id, shop_customer_id
)

select * from final

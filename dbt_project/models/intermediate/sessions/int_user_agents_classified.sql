{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='user_agent') }}

with spans as (
    select * from {{ ref('int_web_spans_summarised') }}
    where {{ is_newly_known('ended_at', latest='last_seen_at') }}
),

bots as (
    select * from {{ ref('bot_user_agents') }}
),

devices as (
    select * from {{ ref('device_user_agents') }}
),

agents as (
    select
        user_agent,
        lower(user_agent) as lower_user_agent,
        max(ended_at) as last_seen_at,
        max(_load_sequence) as _load_sequence
    from spans
    where user_agent is not null
    group by user_agent
),

seen as (
    select * from agents
    {% if is_incremental() -%}
        union all
        select
            user_agent,
            lower(user_agent) as lower_user_agent,
            last_seen_at,
            _load_sequence
        from {{ this }}
        where user_agent in (select agents.user_agent from agents)
    {%- endif %}
),

latest as (
    select
        user_agent,
        lower_user_agent,
        max(last_seen_at) as last_seen_at,
        max(_load_sequence) as _load_sequence
    from seen
    group by user_agent, lower_user_agent
),

crawlers as (
    select distinct latest.user_agent
    from latest
    inner join bots on latest.lower_user_agent like '%' || bots.pattern || '%'
),

-- Of several patterns the first in the seed's order names the device.
typed as (
    select
        latest.user_agent,
        devices.device_type,
        row_number() over (partition by latest.user_agent order by devices.priority) as pattern_rank
    from latest
    inner join devices on latest.lower_user_agent like '%' || devices.pattern || '%'
),

final as (
    select
        latest.user_agent,
        latest.last_seen_at,
        latest._load_sequence,
        coalesce(typed.device_type, 'desktop') as device_type,
        crawlers.user_agent is not null as is_bot
    from latest
    left join crawlers on latest.user_agent = crawlers.user_agent
    left join typed on latest.user_agent = typed.user_agent and typed.pattern_rank = 1
)

select * from final

with events as (
    select * from {{ used(ref('stg_web__events')) }}
),

patterns as (
    select * from {{ ref('bot_user_agents') }}
),

agents as (
    select distinct user_agent
    from events
    where user_agent is not null
),

final as (
    select
        agents.user_agent,
        count(patterns.pattern) > 0 as is_bot
    from agents
    left join patterns on lower(agents.user_agent) like '%' || patterns.pattern || '%'
    group by agents.user_agent
)

select * from final

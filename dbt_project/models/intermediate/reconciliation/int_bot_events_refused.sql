{{ config(materialized='incremental', incremental_strategy='append') }}

with events as (
    select * from {{ used(ref('stg_web__events'), 'occurred_at') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

newly_known as (
    select
        message_id,
        user_agent,
        occurred_at,
        _load_sequence
    from events
    where {{ is_newly_known('occurred_at', 'occurred_at') }}
),

final as (
    select
        newly_known.message_id,
        newly_known.occurred_at,
        newly_known._load_sequence
    from newly_known
    inner join agents on newly_known.user_agent = agents.user_agent
    where agents.is_bot
)

select * from final

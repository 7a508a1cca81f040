{{ config(materialized='incremental', incremental_strategy='append') }}

{%- set events = web_events_newly_known(used(ref('stg_web__events'), 'occurred_at'), latest='occurred_at') %}

with spans as (
    select * from {{ ref('int_web_spans_summarised') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
    where is_bot
),

visitors as (
    select distinct
        spans.anonymous_id,
        case when spans.anonymous_id is null then spans.shop_customer_id end as shop_customer_id
    from spans
    inner join agents on spans.user_agent = agents.user_agent
    where {{ is_newly_known('spans.ended_at', 'occurred_at', 'spans._load_sequence') }}
),

-- Few visitors are programs: of nobody else's events is it read which program sent them.
-- The events are asked for twice, written out: as a CTE they would be kept in memory, all of them.
suspects as {{ materialized_once() }} (
    select
        message_id,
        user_agent,
        occurred_at,
        _load_sequence
    from {{ events }} as events
    where anonymous_id in (select visitors.anonymous_id from visitors)
    union all
    select
        message_id,
        user_agent,
        occurred_at,
        _load_sequence
    from {{ events }} as events
    where anonymous_id is null and shop_customer_id in (select visitors.shop_customer_id from visitors)
),

final as (
    select
        suspects.message_id,
        suspects.occurred_at,
        suspects._load_sequence
    from suspects
    inner join agents on suspects.user_agent = agents.user_agent
)

select * from final

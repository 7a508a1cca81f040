{{ config(
    materialized='incremental', incremental_strategy='delete+insert', unique_key=['anonymous_id', 'shop_customer_id']
) }}

with spans as (
    select * from {{ ref('int_web_spans_summarised') }}
    where {{ is_newly_known('ended_at', latest='last_seen_at') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

logins as (
    select
        spans.anonymous_id,
        spans.shop_customer_id,
        sum(spans.event_count) as event_count,
        min(spans.started_at) as first_seen_at,
        max(spans.ended_at) as last_seen_at,
        max(spans._load_sequence) as _load_sequence
    from spans
    left join agents on spans.user_agent = agents.user_agent
    where
        spans.anonymous_id is not null
        and spans.shop_customer_id is not null
        and not coalesce(agents.is_bot, false)
    group by spans.anonymous_id, spans.shop_customer_id
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

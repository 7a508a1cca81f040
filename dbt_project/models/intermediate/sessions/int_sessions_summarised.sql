{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='visitor_key') }}

{%- set pause = var('session_inactivity_minutes') * 60 %}
{%- set campaign = packed(
    'events.occurred_at', ['events.campaign_source', 'events.campaign_medium', 'events.campaign_name']
) %}
{%- set has_campaign = 'events.campaign_source is not null or events.campaign_name is not null' %}
{%- set counts = [
    'event_count', 'page_view_count', 'product_view_count', 'cart_addition_count', 'checkout_count', 'order_count',
] %}
{%- set least = ['lowest_shop_customer_id', 'first_campaign', 'started_at'] %}
{%- set greatest = [
    'highest_shop_customer_id', 'device_type', 'time_zone', 'last_campaign', 'ended_at', 'last_product_viewed_at',
    'last_cart_added_at', 'last_checkout_started_at', '_load_sequence',
] %}

with events as (
    select * from {{ used(ref('stg_web__events'), 'occurred_at') }} as used_events
    where {{ is_newly_known('occurred_at', latest='ended_at') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

-- Events of one span of the pause's length belong together whatever else happens: few are left to compare.
spans as (
    select
        coalesce(events.anonymous_id, 'customer:' || events.shop_customer_id) as visitor_key,
        {{ bucket_number('events.occurred_at', pause) }} as bucket,
        min(events.shop_customer_id) as lowest_shop_customer_id,
        max(events.shop_customer_id) as highest_shop_customer_id,
        max(agents.device_type) as device_type,
        max(events.time_zone) as time_zone,
        min(case when {{ has_campaign }} then {{ campaign }} end) as first_campaign,
        max(case when {{ has_campaign }} then {{ campaign }} end) as last_campaign,
        count(*) as event_count,
        sum(case when events.event_type = 'page' then 1 else 0 end) as page_view_count,
        sum(case when events.event_name = 'Product Viewed' then 1 else 0 end) as product_view_count,
        sum(case when events.event_name = 'Product Added' then 1 else 0 end) as cart_addition_count,
        sum(case when events.event_name = 'Checkout Started' then 1 else 0 end) as checkout_count,
        sum(case when events.event_name = 'Order Completed' then 1 else 0 end) as order_count,
        min(events.occurred_at) as started_at,
        max(events.occurred_at) as ended_at,
        max(case when events.event_name = 'Product Viewed' then events.occurred_at end)
            as last_product_viewed_at,
        max(case when events.event_name = 'Product Added' then events.occurred_at end) as last_cart_added_at,
        max(case when events.event_name = 'Checkout Started' then events.occurred_at end)
            as last_checkout_started_at,
        max(events._load_sequence) as _load_sequence
    from events
    left join agents on events.user_agent = agents.user_agent
    where not coalesce(agents.is_bot, false)
    group by
        coalesce(events.anonymous_id, 'customer:' || events.shop_customer_id),
        {{ bucket_number('events.occurred_at', pause) }}
),

-- The visits that are there join the new spans as if they were spans themselves.
pieces as (
    select
        visitor_key,
        0 as is_known,
        {{ (least + greatest + counts) | join(', ') }}
    from spans
    {% if is_incremental() -%}
        union all
        select
            visitor_key,
            1 as is_known,
            {{ (least + greatest + counts) | join(', ') }}
        from {{ this }}
        where visitor_key in (select spans.visitor_key from spans)
    {%- endif %}
),

spaced as (
    select
        *,
        max(ended_at) over (
            partition by visitor_key order by started_at, ended_at, is_known
            rows between unbounded preceding and 1 preceding
        ) as previous_ended_at
    from pieces
),

numbered as (
    select
        *,
        sum(
            case
                when previous_ended_at is null then 1
                when {{ seconds_between('previous_ended_at', 'started_at') }} > {{ pause }} then 1
                else 0
            end
        ) over (
            partition by visitor_key order by started_at, ended_at, is_known
            rows between unbounded preceding and current row
        ) as session_number
    from spaced
),

final as (
    select
        visitor_key,
        {% for column in least -%}
            min({{ column }}) as {{ column }},
        {% endfor -%}
        {%- for column in greatest -%}
            max({{ column }}) as {{ column }},
        {% endfor -%}
        {%- for column in counts -%}
            cast(sum({{ column }}) as bigint) as {{ column }},
        {% endfor -%}
        visitor_key || ':' || {{ instant_text('min(started_at)') }} as session_id
    from numbered
    group by visitor_key, session_number
)

select * from final

{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='visitor_key') }}

{%- set pause = var('session_inactivity_minutes') * 60 %}
{%- set counts = [
    'event_count', 'page_view_count', 'product_view_count', 'cart_addition_count', 'checkout_count', 'order_count',
] %}
{%- set least = ['lowest_shop_customer_id', 'first_campaign', 'started_at'] %}
{%- set greatest = [
    'highest_shop_customer_id', 'device_type', 'time_zone', 'last_campaign', 'ended_at', 'last_product_viewed_at',
    'last_cart_added_at', 'last_checkout_started_at', '_load_sequence',
] %}

with spans as (
    select * from {{ ref('int_web_spans_summarised') }}
    where {{ is_newly_known('ended_at', latest='ended_at') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

stays as (
    select
        spans.*,
        spans.shop_customer_id as lowest_shop_customer_id,
        spans.shop_customer_id as highest_shop_customer_id,
        agents.device_type,
        coalesce(spans.anonymous_id, 'customer:' || spans.shop_customer_id) as visitor_key
    from spans
    left join agents on spans.user_agent = agents.user_agent
    where not coalesce(agents.is_bot, false)
),

-- The visits that are there join the new spans as if they were spans themselves.
pieces as (
    select
        visitor_key,
        0 as is_known,
        {{ (least + greatest + counts) | join(', ') }}
    from stays
    {% if is_incremental() -%}
        union all
        select
            visitor_key,
            1 as is_known,
            {{ (least + greatest + counts) | join(', ') }}
        from {{ this }}
        where visitor_key in (select stays.visitor_key from stays)
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

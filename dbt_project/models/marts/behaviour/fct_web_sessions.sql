{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='session_id',
    on_schema_change='append_new_columns',
    post_hook="{{ rows_left_out(ref('int_sessions_summarised'), 'session_id') }}",
) }}

with sessions as (
    select * from {{ ref('int_sessions_attributed') }}
),

-- A visit that is held is no longer the same where it has more events, from which all else follows, or where
-- it has become another person's.
changed as (
    select sessions.*
    from sessions
    {% if is_incremental() -%}
        left join {{ this }} as held
            on
                sessions.session_id = held.session_id
                and sessions.event_count = held.event_count
                and coalesce(sessions.customer_id, '') = coalesce(held.customer_id, '')
        where held.session_id is null
    {%- endif %}
),

final as (
    select
        session_id,
        customer_id,
        device_type,
        {% for touch in ['first', 'last'] -%}
            {%- for part in ['source', 'medium', 'name'] -%}
                {{ unpacked(touch ~ '_campaign', loop.index) }} as {{ touch }}_campaign_{{ part }},
            {% endfor -%}
        {%- endfor -%}
        cast(event_count as bigint) as event_count,
        cast(page_view_count as bigint) as page_view_count,
        cast(product_view_count as bigint) as product_view_count,
        cast(cart_addition_count as bigint) as cart_addition_count,
        cast(checkout_count as bigint) as checkout_count,
        cast(order_count as bigint) as order_count,
        {{ utc_date('started_at') }} as session_date,
        started_at,
        ended_at
    from changed
)

select * from final

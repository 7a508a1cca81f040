with sessions as (
    select * from {{ ref('int_sessions_attributed') }}
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
    from sessions
)

select * from final

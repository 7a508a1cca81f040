with events as (
    select * from {{ ref('int_web_events_cleaned') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

visitors as (
    select * from {{ ref('int_visitors_resolved') }}
),

spaced as (
    select
        events.*,
        coalesce(identifiers.customer_id, visitors.customer_id) as customer_id,
        lag(events.occurred_at) over (
            partition by events.visitor_key
            order by events.occurred_at, events.message_id
        ) as previous_occurred_at
    from events
    left join identifiers on 'shop:' || events.shop_customer_id = identifiers.source_customer_key
    left join visitors on events.anonymous_id = visitors.anonymous_id
),

numbered as (
    select
        *,
        sum(
            case
                when previous_occurred_at is null then 1
                when
                    {{ seconds_between('previous_occurred_at', 'occurred_at') }}
                    > {{ var('session_inactivity_minutes') }} * 60 then 1
                else 0
            end
        ) over (
            partition by visitor_key
            order by occurred_at, message_id
            rows between unbounded preceding and current row
        ) as session_number
    from spaced
),

final as (
    select
        message_id,
        visitor_key,
        customer_id,
        event_name,
        shop_product_id,
        category,
        page_path,
        campaign_source,
        campaign_medium,
        campaign_name,
        occurred_at,
        _load_sequence,
        first_value(message_id) over (
            partition by visitor_key, session_number
            order by occurred_at, message_id
        ) as session_id
    from numbered
)

select * from final

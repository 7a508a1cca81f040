with events as (
    select * from {{ ref('int_web_events_cleaned') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

-- A device that several people logged in on tells nothing about its anonymous events. An account that has not
-- landed yet is somebody else.
final as (
    select
        events.anonymous_id,
        min(identifiers.customer_id) as customer_id,
        min(events.occurred_at) as identified_at
    from events
    left join identifiers on 'shop:' || events.shop_customer_id = identifiers.source_customer_key
    where events.anonymous_id is not null and events.shop_customer_id is not null
    group by events.anonymous_id
    having
        min(identifiers.customer_id) is not null
        and count(distinct coalesce(identifiers.customer_id, 'shop:' || events.shop_customer_id)) = 1
)

select * from final

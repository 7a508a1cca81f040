with events as (
    select * from {{ ref('int_web_events_cleaned') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

-- A device that several people logged in on tells nothing about its anonymous events.
final as (
    select
        events.anonymous_id,
        min(identifiers.customer_id) as customer_id,
        min(events.occurred_at) as identified_at
    from events
    inner join identifiers on 'shop:' || events.shop_customer_id = identifiers.source_customer_key
    where events.anonymous_id is not null
    group by events.anonymous_id
    having count(distinct identifiers.customer_id) = 1
)

select * from final

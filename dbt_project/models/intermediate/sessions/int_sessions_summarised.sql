with events as (
    select * from {{ ref('int_web_events_attributed') }}
),

-- A visit in which two people logged in belongs to neither.
final as (
    select
        session_id,
        min(visitor_key) as visitor_key,
        case when count(distinct customer_id) = 1 then min(customer_id) end as customer_id,
        count(*) as event_count,
        sum(case when event_name = 'Product Viewed' then 1 else 0 end) as product_view_count,
        sum(case when event_name = 'Product Added' then 1 else 0 end) as cart_addition_count,
        sum(case when event_name = 'Order Completed' then 1 else 0 end) as order_count,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        max(case when event_name = 'Product Viewed' then occurred_at end) as last_product_viewed_at
    from events
    group by session_id
)

select * from final

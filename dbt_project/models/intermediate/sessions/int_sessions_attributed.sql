{{ config(materialized='view') }}

-- Its columns are read once each: it is written nowhere.
with sessions as (
    select * from {{ ref('int_sessions_summarised') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
    where identifier_kind = 'account'
),

visitors as (
    select * from {{ ref('int_visitors_resolved') }}
),

-- A visit in which two people signed in belongs to neither; one without a sign-in belongs as the device does.
final as (
    select
        sessions.session_id,
        sessions.visitor_key,
        sessions.device_type,
        sessions.time_zone,
        sessions.first_campaign,
        sessions.last_campaign,
        sessions.event_count,
        sessions.page_view_count,
        sessions.product_view_count,
        sessions.cart_addition_count,
        sessions.checkout_count,
        sessions.order_count,
        sessions.started_at,
        sessions.ended_at,
        sessions.last_product_viewed_at,
        sessions.last_cart_added_at,
        sessions.last_checkout_started_at,
        sessions._load_sequence,
        case
            when sessions.lowest_shop_customer_id is null then visitors.customer_id
            when lowest.customer_id = highest.customer_id then lowest.customer_id
        end as customer_id
    from sessions
    left join identifiers as lowest
        on 'shop:' || sessions.lowest_shop_customer_id = lowest.source_customer_key
    left join identifiers as highest
        on 'shop:' || sessions.highest_shop_customer_id = highest.source_customer_key
    left join visitors on sessions.visitor_key = visitors.anonymous_id
)

select * from final

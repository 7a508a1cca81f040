{{ config(materialized='incremental', incremental_strategy='append') }}

{%- set pause = var('session_inactivity_minutes') * 60 %}
{%- set campaign = packed('occurred_at', ['campaign_source', 'campaign_medium', 'campaign_name']) %}
{%- set has_campaign = 'campaign_source is not null or campaign_name is not null' %}

with events as (
    select * from {{ web_events_newly_known(
        used(ref('stg_web__events'), 'occurred_at'), latest='ended_at'
    ) }} as new_events
),

-- Events of one span of the pause's length belong to one visit whatever else happens.
final as (
    select
        anonymous_id,
        shop_customer_id,
        user_agent,
        max(time_zone) as time_zone,
        min(case when {{ has_campaign }} then {{ campaign }} end) as first_campaign,
        max(case when {{ has_campaign }} then {{ campaign }} end) as last_campaign,
        {{ bucket_number('occurred_at', pause) }} as bucket,
        count(*) as event_count,
        count(case when event_type = 'page' then 1 end) as page_view_count,
        count(case when event_name = 'Product Viewed' then 1 end) as product_view_count,
        count(case when event_name = 'Product Added' then 1 end) as cart_addition_count,
        count(case when event_name = 'Checkout Started' then 1 end) as checkout_count,
        count(case when event_name = 'Order Completed' then 1 end) as order_count,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        max(case when event_name = 'Product Viewed' then occurred_at end) as last_product_viewed_at,
        max(case when event_name = 'Product Added' then occurred_at end) as last_cart_added_at,
        max(case when event_name = 'Checkout Started' then occurred_at end) as last_checkout_started_at,
        max(_load_sequence) as _load_sequence
    from events
    group by anonymous_id, shop_customer_id, user_agent, {{ bucket_number('occurred_at', pause) }}
)

select * from final

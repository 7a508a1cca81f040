{{ config(alias='customer_sessions', materialized='view') }}

with sessions as (
    select * from {{ ref('fct_web_sessions') }}
),

final as (
    select
        customer_id,
        session_id,
        device_type,
        page_view_count,
        product_view_count,
        cart_addition_count,
        checkout_count,
        order_count,
        started_at
    from sessions
    where customer_id is not null
)

select * from final

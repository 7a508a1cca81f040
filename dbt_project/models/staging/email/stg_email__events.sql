{{ config(materialized='incremental', incremental_strategy='append') }}

with final as (
    select * from {{ email_events_staged(source('email', 'events'), recipient='shop_customer_id') }}
)

select * from final

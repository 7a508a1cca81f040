{{ config(materialized='incremental', incremental_strategy='append') }}

with final as (
    select * from {{ email_events_staged(source('hubspot', 'events'), recipient='customer_id') }}
)

select * from final

{{ config(materialized='incremental', incremental_strategy='append') }}

with final as (
    select * from {{ email_events_staged(
        source('webhooks', 'events'), recipient='customer_id', destination='destination'
    ) }}
)

select * from final

with sends as (
    select * from {{ ref('stg_history__sends') }}
),

final as (
    select
        campaign_id,
        customer_id,
        destination,
        send_state,
        message_id,
        accepted_at,
        destination || ':' || campaign_id || ':' || customer_id as send_id
    from sends
    where export_number = 1
)

select * from final

{{ config(alias='customer_emails', materialized='view') }}

with messages as (
    select * from {{ ref('fct_email_messages') }}
),

final as (
    select
        customer_id,
        email_message_id,
        campaign_id,
        subject,
        is_machine_opened,
        sent_at,
        delivered_at,
        first_opened_at as opened_at,
        first_clicked_at as clicked_at,
        unsubscribed_at
    from messages
    where customer_id is not null and sent_at is not null
)

select * from final

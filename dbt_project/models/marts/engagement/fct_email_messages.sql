{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='email_message_id',
    on_schema_change='append_new_columns',
) }}

with messages as (
    select * from {{ ref('int_email_messages_summarised') }}
),

attributed_orders as (
    select * from {{ ref('int_email_orders_attributed') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

emails as (
    select * from {{ ref('int_emails_resolved') }}
),

resolved as (
    select * from {{ recipients_resolved('messages', 'identifiers', 'emails') }}
),

ordered as (
    select
        email_message_id,
        count(*) as attributed_order_count,
        sum(net_amount) as attributed_revenue
    from attributed_orders
    group by email_message_id
),

described as (
    select
        resolved.email_message_id,
        resolved.source_system,
        resolved.customer_id,
        resolved.campaign_id,
        resolved.subject,
        cast(resolved.open_count as bigint) as open_count,
        cast(resolved.click_count as bigint) as click_count,
        cast(resolved.machine_open_count as bigint) as machine_open_count,
        cast(resolved.machine_click_count as bigint) as machine_click_count,
        cast(resolved.suspected_click_count as bigint) as suspected_click_count,
        cast(coalesce(ordered.attributed_order_count, 0) as bigint) as attributed_order_count,
        {{ rounded_money('coalesce(ordered.attributed_revenue, 0)') }} as attributed_revenue,
        resolved.delivered_at is not null as is_delivered,
        resolved.first_opened_at is not null as is_opened,
        resolved.first_clicked_at is not null as is_clicked,
        resolved.machine_open_count > 0 as is_machine_opened,
        resolved.machine_click_count + resolved.suspected_click_count > 0 as is_scanned,
        resolved.hard_bounced_at is not null or resolved.soft_bounced_at is not null as is_bounced,
        resolved.hard_bounced_at is not null as is_hard_bounced,
        resolved.unsubscribed_at is not null as is_unsubscribed,
        resolved.complained_at is not null as is_complained,
        resolved.sent_at,
        resolved.delivered_at,
        resolved.first_opened_at,
        resolved.first_clicked_at,
        resolved.unsubscribed_at,
        resolved.complained_at
    from resolved
    left join ordered on resolved.email_message_id = ordered.email_message_id
),

final as (
    select described.* from described
    {{ changed_rows('described', 'email_message_id') }}
)

select * from final

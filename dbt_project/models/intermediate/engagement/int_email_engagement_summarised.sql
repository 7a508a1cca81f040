with events as (
    select * from {{ ref('int_email_events_unified') }}
),

messages as (
    select
        customer_id,
        email_message_id,
        max(case when event_type = 'delivered' then 1 else 0 end) as is_delivered,
        max(case when event_type = 'open' and is_engagement then 1 else 0 end) as is_opened,
        max(case when event_type = 'click' and is_engagement then 1 else 0 end) as is_clicked,
        min(occurred_at) as sent_at,
        max(case when is_engagement then occurred_at end) as last_engaged_at
    from events
    where customer_id is not null
    group by customer_id, email_message_id
),

aged as (
    select
        *,
        case when {{ days_between('sent_at', as_of()) }} < {{ var('email_feature_days') }} then 1 else 0 end
            as is_recent
    from messages
),

final as (
    select
        customer_id,
        sum(is_delivered) as emails_delivered_count,
        sum(is_opened) as emails_opened_count,
        sum(is_clicked) as emails_clicked_count,
        sum(is_delivered * is_recent) as emails_delivered_90d,
        sum(is_opened * is_recent) as emails_opened_90d,
        sum(is_clicked * is_recent) as emails_clicked_90d,
        max(last_engaged_at) as last_email_engaged_at
    from aged
    group by customer_id
)

select * from final

with messages as (
    select * from {{ ref('int_email_messages_summarised') }}
),

attributed_orders as (
    select * from {{ ref('int_email_orders_attributed') }}
),

ordered as (
    select
        email_message_id,
        count(*) as order_count,
        sum(net_amount) as revenue
    from attributed_orders
    group by email_message_id
),

-- 1 for what happened to a message, however often it did.
marked as (
    select
        messages.source_system,
        messages.campaign_id,
        messages.campaign_name,
        messages.first_event_at,
        messages.last_event_at,
        case when messages.sent_at is null then 0 else 1 end as is_sent,
        case when messages.delivered_at is null then 0 else 1 end as is_delivered,
        case when messages.first_opened_at is null then 0 else 1 end as is_opened,
        case when messages.first_clicked_at is null then 0 else 1 end as is_clicked,
        case when messages.machine_open_count > 0 then 1 else 0 end as is_machine_opened,
        case when messages.machine_click_count + messages.suspected_click_count > 0 then 1 else 0 end
            as is_scanned,
        case when messages.hard_bounced_at is null then 0 else 1 end as is_hard_bounced,
        case when messages.soft_bounced_at is null then 0 else 1 end as is_soft_bounced,
        case when messages.unsubscribed_at is null then 0 else 1 end as is_unsubscribed,
        case when messages.complained_at is null then 0 else 1 end as is_complained,
        coalesce(ordered.order_count, 0) as order_count,
        coalesce(ordered.revenue, 0) as revenue
    from messages
    left join ordered on messages.email_message_id = ordered.email_message_id
    where messages.campaign_id is not null
),

summed as (
    select
        source_system,
        campaign_id,
        max(campaign_name) as campaign_name,
        count(*) as message_count,
        sum(is_sent) as sent_count,
        sum(is_delivered) as delivered_count,
        sum(is_opened) as opened_count,
        sum(is_clicked) as clicked_count,
        sum(is_machine_opened) as machine_opened_count,
        sum(is_scanned) as scanned_count,
        sum(is_hard_bounced) as hard_bounced_count,
        sum(is_soft_bounced) as soft_bounced_count,
        sum(is_unsubscribed) as unsubscribed_count,
        sum(is_complained) as complained_count,
        sum(order_count) as attributed_order_count,
        sum(revenue) as attributed_revenue,
        sum(is_delivered * is_opened) as delivered_opened_count,
        sum(is_delivered * is_clicked) as delivered_clicked_count,
        sum(is_delivered * is_opened * is_clicked) as delivered_opened_clicked_count,
        sum(is_delivered * is_unsubscribed) as delivered_unsubscribed_count,
        sum(is_delivered * is_complained) as delivered_complained_count,
        min(first_event_at) as started_at,
        max(last_event_at) as last_event_at
    from marked
    group by source_system, campaign_id
),

final as (
    select
        source_system,
        campaign_id,
        campaign_name,
        cast(message_count as bigint) as message_count,
        cast(sent_count as bigint) as sent_count,
        cast(delivered_count as bigint) as delivered_count,
        cast(opened_count as bigint) as opened_count,
        cast(clicked_count as bigint) as clicked_count,
        cast(machine_opened_count as bigint) as machine_opened_count,
        cast(scanned_count as bigint) as scanned_count,
        cast(hard_bounced_count as bigint) as hard_bounced_count,
        cast(soft_bounced_count as bigint) as soft_bounced_count,
        cast(unsubscribed_count as bigint) as unsubscribed_count,
        cast(complained_count as bigint) as complained_count,
        cast(attributed_order_count as bigint) as attributed_order_count,
        {{ rounded_money('attributed_revenue') }} as attributed_revenue,
        {{ share('delivered_opened_count', 'delivered_count') }} as open_rate,
        {{ share('delivered_clicked_count', 'delivered_count') }} as click_rate,
        {{ share('delivered_opened_clicked_count', 'delivered_opened_count') }} as click_to_open_rate,
        {{ share('attributed_order_count', 'delivered_count') }} as conversion_rate,
        {{ share('hard_bounced_count + soft_bounced_count', 'message_count') }} as bounce_rate,
        {{ share('delivered_unsubscribed_count', 'delivered_count') }} as unsubscribe_rate,
        {{ share('delivered_complained_count', 'delivered_count') }} as complaint_rate,
        started_at,
        last_event_at
    from summed
)

select * from final

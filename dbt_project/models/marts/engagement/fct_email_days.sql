with messages as (
    select * from {{ ref('int_email_messages_summarised') }}
),

response_days as (
    select * from {{ ref('int_email_response_days_summarised') }}
),

attributed_orders as (
    select * from {{ ref('int_email_orders_attributed') }}
),

sent as (
    select
        source_system,
        campaign_id,
        {{ utc_date('sent_at') }} as event_date,
        count(*) as sent_count
    from messages
    where sent_at is not null
    group by source_system, campaign_id, {{ utc_date('sent_at') }}
),

delivered as (
    select
        source_system,
        campaign_id,
        {{ utc_date('delivered_at') }} as event_date,
        count(*) as delivered_count
    from messages
    where delivered_at is not null
    group by source_system, campaign_id, {{ utc_date('delivered_at') }}
),

responded as (
    select
        source_system,
        campaign_id,
        event_date,
        sum(case when open_count > 0 then 1 else 0 end) as opened_count,
        sum(case when click_count > 0 then 1 else 0 end) as clicked_count,
        sum(case when machine_open_count > 0 then 1 else 0 end) as machine_opened_count,
        sum(case when machine_click_count + suspected_click_count > 0 then 1 else 0 end) as scanned_count,
        sum(case when bounce_count > 0 then 1 else 0 end) as bounced_count,
        sum(case when unsubscribe_count > 0 then 1 else 0 end) as unsubscribed_count,
        sum(case when complaint_count > 0 then 1 else 0 end) as complained_count
    from response_days
    group by source_system, campaign_id, event_date
),

ordered as (
    select
        messages.source_system,
        messages.campaign_id,
        {{ utc_date('attributed_orders.ordered_at') }} as event_date,
        count(*) as order_count,
        sum(attributed_orders.net_amount) as revenue
    from attributed_orders
    inner join messages on attributed_orders.email_message_id = messages.email_message_id
    group by messages.source_system, messages.campaign_id, {{ utc_date('attributed_orders.ordered_at') }}
),

{%- set parts = {
    'sent': ['sent_count'],
    'delivered': ['delivered_count'],
    'responded': [
        'opened_count', 'clicked_count', 'machine_opened_count', 'scanned_count', 'bounced_count',
        'unsubscribed_count', 'complained_count',
    ],
    'ordered': ['order_count', 'revenue'],
} %}

united as (
    {% for part in parts -%}
        select
            source_system,
            campaign_id,
            {% for columns in parts.values() %}{% for column in columns -%}
                {{ column if column in parts[part] else '0' }} as {{ column }},
            {% endfor %}{% endfor -%}
            event_date
        from {{ part }}
        {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

final as (
    select
        source_system,
        campaign_id,
        cast(sum(sent_count) as bigint) as sent_count,
        cast(sum(delivered_count) as bigint) as delivered_count,
        cast(sum(opened_count) as bigint) as opened_count,
        cast(sum(clicked_count) as bigint) as clicked_count,
        cast(sum(machine_opened_count) as bigint) as machine_opened_count,
        cast(sum(scanned_count) as bigint) as scanned_count,
        cast(sum(bounced_count) as bigint) as bounced_count,
        cast(sum(unsubscribed_count) as bigint) as unsubscribed_count,
        cast(sum(complained_count) as bigint) as complained_count,
        cast(sum(order_count) as bigint) as attributed_order_count,
        {{ rounded_money('sum(revenue)') }} as attributed_revenue,
        event_date
    from united
    where campaign_id is not null
    group by source_system, campaign_id, event_date
)

select * from final

with messages as (
    select * from {{ ref('int_email_messages_summarised') }}
),

clicks as (
    select * from {{ ref('int_email_clicks_judged') }}
),

orders as (
    select * from {{ ref('int_orders_unified') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

emails as (
    select * from {{ ref('int_emails_resolved') }}
),

followed as (
    select
        clicks.email_message_id,
        messages.source_customer_key,
        messages.stated_customer_id,
        messages.normalised_email,
        clicks.occurred_at as clicked_at
    from clicks
    inner join messages on clicks.email_message_id = messages.email_message_id
    where not clicks.is_suspected_scan
),

resolved as (
    select * from {{ recipients_resolved('followed', 'identifiers', 'emails') }}
),

-- Of two messages that somebody followed in one instant, one has to be the last.
visits as (
    select
        customer_id,
        clicked_at,
        max(email_message_id) as email_message_id
    from resolved
    where customer_id is not null
    group by customer_id, clicked_at
),

-- One line of time a person instead of a join of all clicks with all orders. A click at the very instant of
-- an order did not lead to it.
moments as (
    select
        customer_id,
        cast(null as varchar) as order_id,
        2 as turn,
        clicked_at as happened_at,
        clicked_at
    from visits
    union all
    select
        customer_id,
        order_id,
        1 as turn,
        ordered_at as happened_at,
        cast(null as timestamptz) as clicked_at
    from orders
    where is_purchase and customer_id in (select visits.customer_id from visits)
),

followed_orders as (
    select
        customer_id,
        order_id,
        happened_at as ordered_at,
        max(clicked_at) over (
            partition by customer_id
            order by happened_at, turn, order_id
            rows between unbounded preceding and current row
        ) as last_clicked_at
    from moments
),

final as (
    select
        orders.order_id,
        visits.email_message_id,
        orders.customer_id,
        orders.net_amount,
        visits.clicked_at,
        orders.ordered_at
    from followed_orders
    inner join orders on followed_orders.order_id = orders.order_id
    inner join visits
        on
            followed_orders.customer_id = visits.customer_id
            and followed_orders.last_clicked_at = visits.clicked_at
    where
        {{ seconds_between('visits.clicked_at', 'orders.ordered_at') }}
        <= {{ var('email_attribution_days') }} * 86400
)

select * from final

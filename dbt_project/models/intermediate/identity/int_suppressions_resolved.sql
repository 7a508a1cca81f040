with events as (
    select * from {{ ref('int_email_events_unified') }}
),

customers as (
    select * from {{ ref('int_customers_merged') }}
),

opt_ins as (
    select * from {{ ref('int_opt_ins_resolved') }}
),

complaints as (
    select
        customer_id,
        1 as severity,
        'complained' as suppression_reason,
        occurred_at
    from events
    where event_type = 'complaint'
),

-- A hard bounce belongs to the address: it ends when the person has another one.
bounces as (
    select
        events.customer_id,
        2 as severity,
        'bounced' as suppression_reason,
        events.occurred_at
    from events
    inner join customers on events.customer_id = customers.customer_id
    where
        events.event_type = 'bounce'
        and events.bounce_type = 'hard'
        and coalesce(events.normalised_email = customers.normalised_email, true)
),

-- Only an unsubscribe is lifted, and only by the person's own later opt-in.
unsubscribes as (
    select
        events.customer_id,
        3 as severity,
        'unsubscribed' as suppression_reason,
        events.occurred_at
    from events
    left join opt_ins on events.customer_id = opt_ins.customer_id
    where
        events.event_type = 'unsubscribe'
        and (opt_ins.last_opted_in_at is null or opt_ins.last_opted_in_at <= events.occurred_at)
),

united as (
    select * from complaints
    union all
    select * from bounces
    union all
    select * from unsubscribes
),

ranked as (
    select
        *,
        row_number() over (partition by customer_id order by severity, occurred_at) as reason_rank
    from united
    where customer_id is not null
),

final as (
    select
        customer_id,
        suppression_reason,
        occurred_at as suppressed_at
    from ranked
    where reason_rank = 1
)

select * from final

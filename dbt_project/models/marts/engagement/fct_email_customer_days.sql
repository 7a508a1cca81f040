with response_days as (
    select * from {{ ref('int_email_response_days_summarised') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

emails as (
    select * from {{ ref('int_emails_resolved') }}
),

engaged_days as (
    select * from response_days
    where last_engaged_at is not null
),

resolved as (
    select * from {{ recipients_resolved('engaged_days', 'identifiers', 'emails') }}
),

final as (
    select
        customer_id,
        cast(sum(case when open_count > 0 then 1 else 0 end) as bigint) as opened_count,
        cast(sum(case when click_count > 0 then 1 else 0 end) as bigint) as clicked_count,
        cast(sum(open_count) as bigint) as open_count,
        cast(sum(click_count) as bigint) as click_count,
        event_date,
        max(last_engaged_at) as last_engaged_at
    from resolved
    where customer_id is not null
    group by customer_id, event_date
)

select * from final

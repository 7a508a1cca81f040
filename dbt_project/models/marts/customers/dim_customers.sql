with customers as (
    select * from {{ ref('int_customers_profiled') }}
),

final as (
    select
        customer_id,
        email,
        first_name,
        last_name,
        country_code,
        time_zone,
        loyalty_tier,
        email_consent_status,
        consent_proof,
        email_suppression_reason,
        favourite_category,
        source_systems,
        {{ age_years('birth_date', as_of()) }} as age_years,
        cast(order_count as bigint) as order_count,
        {{ rounded_money('total_spend') }} as total_spend,
        {{ rounded_money('average_order_value') }} as average_order_value,
        cast(web_session_count as bigint) as web_session_count,
        cast(emails_delivered_count as bigint) as emails_delivered_count,
        cast(emails_opened_count as bigint) as emails_opened_count,
        cast(emails_clicked_count as bigint) as emails_clicked_count,
        cast(source_customer_count as bigint) as source_customer_count,
        has_invalid_email,
        is_email_suppressed,
        birth_date,
        email_consent_changed_at,
        least(first_seen_at, coalesce(first_web_seen_at, first_seen_at)) as first_seen_at,
        greatest(
            first_seen_at,
            coalesce(last_order_seen_at, first_seen_at),
            coalesce(last_web_seen_at, first_seen_at),
            coalesce(last_email_engaged_at, first_seen_at)
        ) as last_seen_at,
        first_ordered_at,
        last_ordered_at,
        last_web_seen_at,
        last_email_engaged_at,
        {{ as_of() }} as as_of
    from customers
)

select * from final

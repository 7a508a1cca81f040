with customers as (
    select * from {{ ref('int_customers_profiled') }}
),

percentiles as (
    select
        customer_id,
        percent_rank() over (order by total_spend) as spend_percentile
    from customers
    where order_count > 0
),

final as (
    select
        customers.customer_id,
        customers.country_code,
        customers.loyalty_tier,
        customers.favourite_category,
        customers.email_consent_status,
        customers.order_count,
        customers.order_count_90_days,
        customers.web_session_count,
        customers.emails_delivered_count,
        customers.emails_opened_count,
        customers.emails_clicked_count,
        cast(customers.total_spend as double) as total_spend,
        customers.average_order_value,
        percentiles.spend_percentile,
        {{ days_between('customers.last_ordered_at', as_of()) }} as days_since_last_order,
        {{ days_between('customers.last_web_seen_at', as_of()) }} as days_since_last_web_visit,
        {{ days_between('customers.last_product_viewed_at', as_of()) }} as days_since_last_product_view,
        {{ days_between('customers.last_email_engaged_at', as_of()) }} as days_since_last_email_engagement,
        {{ days_between('customers.first_seen_at', as_of()) }} as days_since_first_seen,
        customers.is_email_suppressed
    from customers
    left join percentiles on customers.customer_id = percentiles.customer_id
)

select * from final

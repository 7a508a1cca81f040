with customers as (
    select * from {{ ref('int_customers_merged') }}
),

consents as (
    select * from {{ ref('int_consents_resolved') }}
),

suppressions as (
    select * from {{ ref('int_suppressions_resolved') }}
),

orders as (
    select * from {{ ref('int_orders_summarised') }}
),

categories as (
    select * from {{ ref('int_categories_ranked') }}
    where category_rank = 1
),

web as (
    select * from {{ ref('int_web_activity_summarised') }}
),

engagement as (
    select * from {{ ref('int_email_engagement_summarised') }}
),

final as (
    select
        customers.customer_id,
        customers.email,
        customers.first_name,
        customers.last_name,
        customers.country_code,
        customers.time_zone,
        customers.loyalty_tier,
        customers.source_systems,
        customers.source_customer_count,
        customers.has_invalid_email,
        customers.birth_date,
        customers.first_seen_at,
        customers.last_described_at,
        consents.consent_proof,
        suppressions.suppression_reason as email_suppression_reason,
        categories.category as favourite_category,
        consents.email_consent_changed_at,
        orders.first_ordered_at,
        orders.last_ordered_at,
        orders.last_order_seen_at,
        web.first_web_seen_at,
        web.last_web_seen_at,
        web.last_product_viewed_at,
        engagement.last_email_engaged_at,
        coalesce(consents.email_consent_status, 'none') as email_consent_status,
        coalesce(orders.order_count, 0) as order_count,
        coalesce(orders.order_count_90_days, 0) as order_count_90_days,
        coalesce(orders.total_spend, 0) as total_spend,
        cast(orders.purchase_amount as double) / nullif(orders.order_count, 0) as average_order_value,
        coalesce(web.web_session_count, 0) as web_session_count,
        coalesce(engagement.emails_delivered_count, 0) as emails_delivered_count,
        coalesce(engagement.emails_opened_count, 0) as emails_opened_count,
        coalesce(engagement.emails_clicked_count, 0) as emails_clicked_count,
        suppressions.customer_id is not null as is_email_suppressed
    from customers
    left join consents on customers.customer_id = consents.customer_id
    left join suppressions on customers.customer_id = suppressions.customer_id
    left join orders on customers.customer_id = orders.customer_id
    left join categories on customers.customer_id = categories.customer_id
    left join web on customers.customer_id = web.customer_id
    left join engagement on customers.customer_id = engagement.customer_id
)

select * from final

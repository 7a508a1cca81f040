{%- set described = [
    'customer_id', 'email', 'normalised_email', 'first_name', 'last_name', 'phone', 'country_code', 'time_zone',
    'preferences', 'loyalty_tier', 'income_band', 'household_size_band', 'household_composition', 'source_systems',
    'email_source', 'first_name_source', 'last_name_source', 'phone_source', 'country_code_source',
    'time_zone_source', 'birth_date_source', 'age_band_source', 'loyalty_tier_source', 'preferences_source',
    'source_customer_count', 'has_invalid_email', 'birth_date', 'first_seen_at', 'last_described_at',
] -%}
with customers as (
    select * from {{ ref('int_customers_merged') }}
),

emails as (
    select * from {{ ref('int_emails_resolved') }}
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

assortments as (
    select * from {{ ref('int_assortments_summarised') }}
),

web as (
    select * from {{ ref('int_web_activity_summarised') }}
),

engagement as (
    select * from {{ ref('int_email_engagement_summarised') }}
),

-- Who does not own the address shares it with its owner, or it is nobody's.
final as (
    select
        customers.{{ described | join(', customers.') }},
        consents.consent_proof,
        suppressions.suppression_reason as email_suppression_reason,
        assortments.favourite_category,
        web.preferred_device,
        web.first_touch_source,
        web.first_touch_medium,
        web.first_touch_campaign,
        web.last_touch_source,
        web.last_touch_medium,
        web.last_touch_campaign,
        web.preferred_visit_hour,
        orders.purchase_interval_days,
        engagement.email_open_rate,
        engagement.email_click_rate,
        consents.email_consent_changed_at,
        orders.first_ordered_at,
        orders.last_ordered_at,
        orders.last_order_seen_at,
        web.first_web_seen_at,
        web.last_web_seen_at,
        web.last_product_viewed_at,
        web.last_cart_added_at,
        engagement.last_email_engaged_at,
        coalesce(consents.email_consent_status, 'none') as email_consent_status,
        case
            when orders.least_order_source = orders.greatest_order_source then orders.least_order_source
            else orders.least_order_source || ',' || orders.greatest_order_source
        end as orders_source,
        {{ lifecycle_stage(
            'orders.first_ordered_at', 'orders.last_ordered_at', 'orders.purchase_interval_days',
            'orders.order_count'
        ) }} as lifecycle_stage,
        coalesce({{ band(age_years('customers.birth_date', as_of()), 'age_bands') }}, customers.age_band)
            as age_band,
        {{ age_years('customers.birth_date', as_of()) }} as age_years,
        coalesce(orders.order_count, 0) as order_count,
        coalesce(orders.order_count_90_days, 0) as order_count_90_days,
        coalesce(orders.total_spend, 0) as total_spend,
        coalesce(orders.spend_365_days, 0) as spend_365_days,
        {{ share('orders.purchase_amount', 'orders.order_count') }} as average_order_value,
        {{ share('orders.refunded_amount', 'orders.gross_amount') }} as refund_rate,
        {{ expected_purchase_interval('orders.purchase_interval_days', 'orders.order_count') }}
            as expected_purchase_interval_days,
        coalesce(web.web_session_count, 0) as web_session_count,
        coalesce(web.web_sessions_30d, 0) as web_sessions_30d,
        {% for kind in ['delivered', 'opened', 'clicked'] -%}
            coalesce(engagement.emails_{{ kind }}_count, 0) as emails_{{ kind }}_count,
            coalesce(engagement.emails_{{ kind }}_90d, 0) as emails_{{ kind }}_90d,
        {% endfor -%}
        suppressions.customer_id is not null as is_email_suppressed,
        customers.normalised_email is not null and emails.customer_id is null as is_email_shared,
        {{ latest_of(['consents.email_consent_changed_at', 'suppressions.suppressed_at']) }}
            as consent_updated_at,
        {{ latest_of(['engagement.last_email_delivered_at', 'engagement.last_email_engaged_at']) }}
            as engagement_updated_at
    from customers
    left join emails
        on customers.normalised_email = emails.normalised_email and customers.customer_id = emails.customer_id
    left join consents on customers.customer_id = consents.customer_id
    left join suppressions on customers.customer_id = suppressions.customer_id
    left join orders on customers.customer_id = orders.customer_id
    left join assortments on customers.customer_id = assortments.customer_id
    left join web on customers.customer_id = web.customer_id
    left join engagement on customers.customer_id = engagement.customer_id
)

select * from final

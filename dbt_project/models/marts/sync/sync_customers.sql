with customers as (
    select * from {{ ref('dim_customers') }}
),

rfm as (
    select * from {{ ref('fct_customer_rfm') }}
),

segments as (
    select
        customer_id,
        {{ comma_list('segment_key') }} as segments
    from {{ ref('dim_customer_segments') }}
    group by customer_id
),

clusters as (
    select * from {{ ref('fct_customer_scores') }}
    where model_name = 'customer_clusters'
),

lifetime_values as (
    select * from {{ ref('fct_customer_scores') }}
    where model_name = 'customer_lifetime_value'
),

-- Consent first: a person without it is refused for that, whatever the address looks like. An address is
-- written to for its owner alone.
judged as (
    select
        *,
        case
            when is_email_suppressed then email_suppression_reason
            when email_consent_status = 'withdrawn' then 'consent_withdrawn'
            when email_consent_status = 'none' then 'no_consent'
            when has_invalid_email then 'invalid_email'
            when email is null then 'no_email'
            when is_email_shared then 'shared_address'
        end as refusal_reason,
        {{ band('order_count', 'order_count_bands') }} as order_count_band
    from customers
),

final as (
    select
        judged.customer_id,
        judged.email,
        judged.first_name,
        judged.country_code,
        judged.time_zone,
        judged.loyalty_tier,
        judged.favourite_category,
        rfm.rfm_code,
        rfm.rfm_segment,
        clusters.tier as cluster,
        lifetime_values.tier as clv_tier,
        judged.order_count_band,
        judged.email_consent_status,
        judged.consent_proof,
        judged.refusal_reason,
        lifetime_values.decile as clv_decile,
        judged.as_of,
        coalesce(segments.segments, '') as segments,
        judged.refusal_reason is null as is_eligible
    from judged
    left join rfm on judged.customer_id = rfm.customer_id
    left join segments on judged.customer_id = segments.customer_id
    left join clusters on judged.customer_id = clusters.customer_id
    left join lifetime_values on judged.customer_id = lifetime_values.customer_id
)

select * from final

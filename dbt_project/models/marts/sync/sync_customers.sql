with customers as (
    select * from {{ ref('dim_customers') }}
),

rfm as (
    select * from {{ ref('fct_customer_rfm') }}
),

segments as (
    select
        customer_id,
        {{ comma_list('segment_key') }} as segments,
        {{ comma_list("case when segment_kind = 'rule' then segment_key end") }} as behaviour_tags
    from {{ ref('dim_customer_segments') }}
    group by customer_id
),

predictions as (
    select * from {{ ref('fct_customer_predictions') }}
),

suggestions as (
    select * from {{ ref('fct_customer_suggestions') }}
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
        judged.last_name,
        judged.phone,
        judged.country_code,
        judged.time_zone,
        judged.age_band,
        judged.loyalty_tier,
        judged.lifecycle_stage,
        judged.stated_preferences,
        judged.favourite_category,
        judged.preferred_device,
        rfm.rfm_code,
        rfm.rfm_segment,
        rfm.rfm_segment_key,
        predictions.cluster,
        predictions.clv_tier,
        predictions.purchase_propensity_tier,
        predictions.churn_propensity_tier,
        predictions.click_propensity_tier,
        predictions.subject_line_style,
        suggestions.predicted_interests,
        predictions.recommendation_kind,
        suggestions.recommended_product_ids,
        suggestions.recommended_product_names,
        judged.order_count_band,
        judged.email_consent_status,
        judged.consent_proof,
        judged.refusal_reason,
        predictions.clv_decile,
        predictions.best_send_weekday,
        predictions.best_send_hour,
        {{ utc_date('judged.first_ordered_at') }} as first_order_date,
        {{ utc_date('judged.last_ordered_at') }} as last_order_date,
        judged.email_consent_changed_at as consent_changed_at,
        judged.as_of,
        coalesce(segments.segments, '') as segments,
        coalesce(segments.behaviour_tags, '') as behaviour_tags,
        predictions.is_uplift_target,
        judged.refusal_reason is null as is_eligible
    from judged
    left join rfm on judged.customer_id = rfm.customer_id
    left join segments on judged.customer_id = segments.customer_id
    left join predictions on judged.customer_id = predictions.customer_id
    left join suggestions on judged.customer_id = suggestions.customer_id
)

select * from final

with customers as (
    select * from {{ ref('int_customers_ranked') }}
),

rfm_segments as (
    select * from {{ ref('rfm_segments') }}
),

coded as (
    select
        *,
        cast(recency_score as varchar) || cast(frequency_score as varchar) || cast(monetary_score as varchar)
            as rfm_code
    from customers
),

final as (
    select
        coded.customer_id,
        coded.rfm_code,
        rfm_segments.segment_key as rfm_segment_key,
        rfm_segments.segment_name as rfm_segment,
        rfm_segments.suggested_action,
        coded.recency_days,
        cast(coded.frequency as bigint) as frequency,
        {{ rounded_money('coded.monetary') }} as monetary,
        cast(coded.recency_score as bigint) as recency_score,
        cast(coded.frequency_score as bigint) as frequency_score,
        cast(coded.monetary_score as bigint) as monetary_score,
        {{ as_of() }} as as_of
    from coded
    inner join rfm_segments on coded.rfm_code = rfm_segments.rfm_code
)

select * from final

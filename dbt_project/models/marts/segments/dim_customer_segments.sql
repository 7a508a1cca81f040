with rfm as (
    select * from {{ ref('fct_customer_rfm') }}
),

measures as (
    select * from {{ ref('fct_customer_measures') }}
),

rules as (
    select
        customer_id,
        segment_key,
        segment_name
    from {{ rule_segments('measures') }} as met
),

united as (
    select
        customer_id,
        rfm_segment_key as segment_key,
        rfm_segment as segment_name,
        'rfm' as segment_kind
    from rfm
    union all
    select
        customer_id,
        segment_key,
        segment_name,
        'rule' as segment_kind
    from rules
),

final as (
    select
        customer_id,
        segment_key,
        segment_name,
        segment_kind,
        {{ as_of() }} as as_of
    from united
)

select * from final

with rfm as (
    select * from {{ ref('rfm_segments') }}
),

rules as (
    select * from {{ rule_segments_listed() }} as listed
),

rfm_segments as (
    select distinct
        segment_key,
        segment_name,
        suggested_action
    from rfm
),

final as (
    select
        segment_key,
        segment_name,
        'rfm' as segment_kind,
        suggested_action as description,
        cast(null as varchar) as rule_definition
    from rfm_segments
    union all
    select
        segment_key,
        segment_name,
        'rule' as segment_kind,
        description,
        rule_definition
    from rules
)

select * from final

with sizes as (
    select * from {{ ref('stg_history__segment_sizes') }}
),

final as (
    select
        version,
        segment_key,
        publication_number,
        member_count,
        entered_count,
        left_count,
        sized_as_of
    from sizes
)

select * from final

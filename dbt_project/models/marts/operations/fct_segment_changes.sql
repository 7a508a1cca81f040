with segment_changes as (
    select * from {{ ref('stg_history__segment_changes') }}
),

final as (
    select
        version,
        customer_id,
        segment_key,
        change,
        publication_number,
        changed_as_of
    from segment_changes
)

select * from final

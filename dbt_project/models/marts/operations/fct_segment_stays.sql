with segment_changes as (
    select * from {{ ref('stg_history__segment_changes') }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by customer_id, segment_key
            order by publication_number, changed_as_of, version
        ) as change_number
    from segment_changes
),

compared as (
    select
        *,
        lag(change) over (
            partition by customer_id, segment_key
            order by change_number
        ) as previous_change
    from numbered
),

-- Entering again without having left is no new stay, and nobody leaves who was not in: a version may be
-- taken back and published again.
turns as (
    select
        *,
        lead(version) over (
            partition by customer_id, segment_key
            order by change_number
        ) as left_version,
        lead(changed_as_of) over (
            partition by customer_id, segment_key
            order by change_number
        ) as left_as_of
    from compared
    where change <> coalesce(previous_change, 'left')
),

final as (
    select
        customer_id,
        segment_key,
        version as entered_version,
        left_version,
        publication_number as entered_publication_number,
        changed_as_of as entered_as_of,
        left_as_of,
        left_as_of is null as is_member
    from turns
    where change = 'entered'
)

select * from final

with landed as (
    select * from {{ landed(source('history', 'segment_sizes')) }}
),

final as (
    select
        version,
        segment_key,
        publication_number,
        member_count,
        entered_count,
        left_count,
        as_of as sized_as_of,
        _load_sequence
    from landed
    where not {{ is_after_as_of('as_of') }}
)

select * from final

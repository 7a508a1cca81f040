with landed as (
    select * from {{ landed(source('history', 'segment_changes')) }}
),

final as (
    select
        version,
        customer_id,
        segment_key,
        change,
        as_of as changed_as_of,
        _load_sequence,
        coalesce(publication_number, 0) as publication_number
    from landed
    where not {{ is_after_as_of('as_of') }}
)

select * from final

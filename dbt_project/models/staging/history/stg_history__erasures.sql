with landed as (
    select * from {{ landed(source('history', 'erasures')) }}
),

-- A repeated erasure of an address changes nothing: the earliest counts.
final as (
    select
        address_hash,
        min(erasure_id) as erasure_id,
        min(erased_at) as erased_at,
        min(_load_sequence) as _load_sequence
    from landed
    where not {{ is_after_as_of('erased_at') }}
    group by address_hash
)

select * from final

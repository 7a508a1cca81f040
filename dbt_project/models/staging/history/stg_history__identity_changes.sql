with landed as (
    select * from {{ landed(source('history', 'identity_changes')) }}
),

final as (
    select
        version,
        source_customer_key,
        old_customer_id,
        new_customer_id,
        as_of as changed_as_of,
        _load_sequence
    from landed
    where not {{ is_after_as_of('as_of') }}
)

select * from final

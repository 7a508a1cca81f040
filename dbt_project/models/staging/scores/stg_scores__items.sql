with landed as (
    select * from {{ landed(source('scores', 'items')) }}
),

final as (
    select
        model_name,
        model_version,
        customer_id,
        item_id,
        reason,
        cast(rank as bigint) as item_rank,
        score,
        as_of as scored_as_of,
        _load_sequence
    from landed
    where not {{ is_after_as_of('as_of') }}
)

select * from final

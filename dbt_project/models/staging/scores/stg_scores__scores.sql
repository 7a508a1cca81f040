with landed as (
    select * from {{ landed(source('scores', 'scores')) }}
),

final as (
    select
        model_name,
        model_version,
        customer_id,
        tier,
        reasons,
        details,
        run_id,
        score,
        cast(decile as bigint) as decile,
        as_of as scored_as_of,
        scored_at,
        _load_sequence
    from landed
    where not {{ is_after_as_of('as_of') }}
)

select * from final

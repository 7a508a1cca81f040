with landed as (
    select * from {{ landed(source('history', 'builds')) }}
),

final as (
    select
        build_id,
        run_id,
        layer,
        node,
        resource_type,
        status,
        message,
        cast(seconds as {{ double() }}) as seconds,
        cast(failures as bigint) as failures,
        finished_at,
        _load_sequence
    from landed
)

select * from final

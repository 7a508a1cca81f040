with builds as (
    select * from {{ ref('stg_history__builds') }}
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
        seconds,
        failures,
        finished_at
    from builds
)

select * from final

{{- after_staging() -}}

with judged as (
    select * from {{ rows_judged() }}
),

refused_rows as (
    select
        source_name,
        entity_name,
        reason
    from {{ ref('int_rows_refused') }}
    union all
    select
        'web' as source_name,
        'events' as entity_name,
        'bot' as reason
    from {{ ref('int_bot_events_refused') }}
),

refused as (
    select
        source_name,
        entity_name,
        reason,
        count(*) as row_count
    from refused_rows
    group by source_name, entity_name, reason
),

-- A row that a join refuses was used by its own model: it counts there no more.
united as (
    select
        source_name,
        entity_name,
        disposition,
        row_count
    from judged
    union all
    select
        source_name,
        entity_name,
        'used' as disposition,
        -row_count as row_count
    from refused
    union all
    select
        source_name,
        entity_name,
        'quarantined:' || reason as disposition,
        row_count
    from refused
),

final as (
    select
        source_name,
        entity_name,
        disposition,
        cast(sum(row_count) as bigint) as row_count
    from united
    group by source_name, entity_name, disposition
    having sum(row_count) <> 0
)

select * from final

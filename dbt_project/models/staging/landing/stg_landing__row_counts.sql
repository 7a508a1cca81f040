with files as (
    select * from {{ landed_row_counts() }}
),

final as (
    select
        source_name,
        entity_name,
        cast(sum(row_count) as bigint) as row_count,
        cast(coalesce(max(case when row_count > 0 then _load_sequence end), 0) as bigint) as _load_sequence
    from files
    group by source_name, entity_name
)

select * from final

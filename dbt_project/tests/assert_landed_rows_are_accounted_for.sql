-- Nothing may vanish silently: landed = used + repeated + quarantined + not yet due, for every entity.
-- The landed rows are counted in the files, everything else in the warehouse.
with reconciliation as (
    select * from {{ ref('fct_source_reconciliation') }}
),

summed as (
    select
        source_name,
        entity_name,
        sum(case when disposition_kind = 'landed' then row_count else 0 end) as landed_count,
        sum(case when disposition_kind <> 'landed' then row_count else 0 end) as disposed_count
    from reconciliation
    group by source_name, entity_name
)

select
    source_name,
    entity_name,
    landed_count,
    disposed_count
from summed
where landed_count <> disposed_count

-- Two tables tell of what cannot be used: one counts it, one lists it. Whoever repairs a source needs both to
-- agree.
with counted as (
    select
        source_name,
        entity_name,
        disposition,
        row_count
    from {{ ref('fct_source_reconciliation') }}
    where disposition_kind = 'quarantined'
),

listed as (
    select
        source_name,
        entity_name,
        'quarantined:' || reason as disposition,
        sum(row_count) as row_count
    from {{ ref('fct_quarantined_rows') }}
    group by source_name, entity_name, reason
)

select
    counted.disposition as counted_disposition,
    listed.disposition as listed_disposition,
    counted.row_count as counted_rows,
    listed.row_count as listed_rows
from counted
full outer join listed
    on
        counted.source_name = listed.source_name
        and counted.entity_name = listed.entity_name
        and counted.disposition = listed.disposition
where
    counted.row_count is null
    or listed.row_count is null
    or counted.row_count <> listed.row_count

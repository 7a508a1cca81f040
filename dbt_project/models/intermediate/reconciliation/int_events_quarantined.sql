{{ config(materialized='incremental', incremental_strategy='append') }}
{{- after_staging() -}}

with judged as (
    select * from {{ rows_quarantined(of_event_streams=true) }}
),

final as (
    select
        source_name,
        entity_name,
        row_key,
        reason,
        _load_sequence,
        count(*) as row_count,
        min(event_at) as event_at
    from judged
    group by source_name, entity_name, row_key, reason, _load_sequence
)

select * from final

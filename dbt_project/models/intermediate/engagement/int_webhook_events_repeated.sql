with told as (
    select
        destination,
        event_id
    from {{ used(ref('stg_webhooks__events')) }}
),

pulled as (
    {%- for esp in var('esp_sources') %}
        select
            '{{ esp }}' as source_system,
            event_id
        from {{ used(ref('stg_' ~ esp ~ '__events'), 'occurred_at') }} as events
        {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        pulled.source_system,
        pulled.event_id
    from pulled
    inner join told on pulled.source_system = told.destination and pulled.event_id = told.event_id
)

select * from final

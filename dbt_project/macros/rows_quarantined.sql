{#
    The landed rows that their staging model put into quarantine, of the streams of events or of all other entities.
    Of streams an incremental model gets those that it does not hold yet. The key of a row is its own id, or the hash
    of its content where the id is missing or is no plain id: a person's data in the wrong column stays out.
#}
{% macro rows_quarantined(of_event_streams) -%}
    {%- set rows_found -%}
        {%- for entity in reconciled_entities() | selectattr('is_event_stream', 'equalto', of_event_streams) %}
        {%- set event_time = 'cast(' ~ (entity.event_time or 'null') ~ ' as timestamptz)' %}
        select
            '{{ entity.source_name }}' as source_name,
            '{{ entity.entity_name }}' as entity_name,
            {{ row_key(entity.key) }} as row_key,
            substr(disposition, length('quarantined:') + 1) as reason,
            {{ event_time }} as event_at,
            _load_sequence
        {%- if entity.is_view %}
        from {{ web_events_newly_known(entity.relation, 'event_at') }} as newly_known
        {%- else %}
        from {{ entity.relation }}
        {%- endif %}
        where
            disposition like 'quarantined:%'
            and not {{ is_after_as_of(event_time) }}
            {%- if of_event_streams and not entity.is_view %}
            and {{ is_newly_known(event_time, 'event_at') }}
            {%- endif %}
        {{ "union all" if not loop.last }}
        {%- else %}
        select
            'a' as source_name,
            'b' as entity_name,
            'c' as row_key,
            'd' as reason,
            cast(null as timestamptz) as event_at,
            0 as _load_sequence
        where 1 = 0
        {%- endfor %}
    {%- endset -%}
    {{ subquery(rows_found) }}
{%- endmacro %}

{#
    What becomes of a landed row: exactly one of
    `after_as_of` (it had not happened yet), `quarantined:<reason>` (the first of the given conditions that it
    meets), the given word for a row that another one with the same key stands for, or `used`.

    key: columns; quarantined: {reason: condition}; repeated: 'superseded' keeps the latest version,
    'duplicate' keeps the first copy.
#}
{% macro disposition(key, event_time, quarantined, repeated) -%}
    {%- set direction = 'desc' if repeated == 'superseded' else 'asc' -%}
    case
        when {{ is_after_as_of(event_time) }} then 'after_as_of'
        {%- for reason, condition in quarantined.items() %}
        when {{ condition }} then 'quarantined:{{ reason }}'
        {%- endfor %}
        when row_number() over (
            partition by
                {{ key | join(', ') }},
                {{ is_after_as_of(event_time) }},
                coalesce(({{ quarantined.values() | join(') or (') }}), false)
            order by _load_sequence {{ direction }}, {{ event_time }} {{ direction }}, _row_hash
        ) > 1 then '{{ repeated }}'
        else 'used'
    end
{%- endmacro %}

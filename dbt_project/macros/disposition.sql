{#
    What becomes of a landed row: exactly one of
    `after_as_of` (it has a key and had not happened yet), `quarantined:<reason>` (the first of the given conditions that it
    meets), the given word for a row that another one with the same key stands for, or `used`.

    key: columns; quarantined: {reason: condition}; repeated: 'superseded' keeps the latest version by the source's
    own time, for an older one may become visible later and land after it; 'duplicate' keeps the copy that landed
    first, so that later loads change nothing.
#}
{% macro disposition(key, event_time, quarantined, repeated) -%}
    {%- if repeated == 'superseded' -%}
        {%- set order = event_time ~ ' desc, _load_sequence desc, _row_hash' -%}
    {%- else -%}
        {%- set order = '_load_sequence, ' ~ event_time ~ ', _row_hash' -%}
    {%- endif -%}
    case
        when {{ key | join(' is not null and ') }} is not null and {{ is_after_as_of(event_time) }} then 'after_as_of'
        {%- for reason, condition in quarantined.items() %}
        when {{ condition }} then 'quarantined:{{ reason }}'
        {%- endfor %}
        when row_number() over (
            partition by
                {{ key | join(', ') }},
                {{ is_after_as_of(event_time) }},
                coalesce(({{ quarantined.values() | join(') or (') }}), false)
            order by {{ order }}
        ) > 1 then '{{ repeated }}'
        else 'used'
    end
{%- endmacro %}

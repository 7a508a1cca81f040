{#
    What becomes of a landed row of an entity whose rows carry no time of their own: `quarantined:<reason>` (the first
    of the given conditions that it meets), `superseded` where a later load brought the same key again, or `used`.
#}
{% macro timeless_disposition(key, quarantined) -%}
    case
        {%- for reason, condition in quarantined.items() %}
        when {{ condition }} then 'quarantined:{{ reason }}'
        {%- endfor %}
        when row_number() over (
            partition by
                {{ key | join(', ') }},
                coalesce(({{ quarantined.values() | join(') or (') }}), false)
            order by _load_sequence desc, _row_hash
        ) > 1 then 'superseded'
        else 'used'
    end
{%- endmacro %}

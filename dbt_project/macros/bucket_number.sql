{# The number of the span of so many seconds, counted from 1970, that an instant falls into. #}
{% macro bucket_number(instant, seconds) -%}
    cast(floor({{ seconds_between("cast('1970-01-01 00:00:00+00' as timestamptz)", instant) }} / {{ seconds }}) as bigint)
{%- endmacro %}

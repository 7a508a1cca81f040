{# The hour of the day, 0 to 23, of an instant in an IANA time zone, which has to be a known one. #}
{% macro local_hour(instant, zone) -%}
    cast(extract(hour from {{ instant }} at time zone {{ zone }}) as bigint)
{%- endmacro %}

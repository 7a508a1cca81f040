{# Whole days that passed from one instant to a later one. #}
{% macro days_between(start, finish) -%}
    cast(floor({{ seconds_between(start, finish) }} / 86400.0) as bigint)
{%- endmacro %}

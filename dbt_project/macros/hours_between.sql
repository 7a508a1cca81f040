{# Whole hours that passed from one instant to a later one. #}
{% macro hours_between(start, finish) -%}
    cast(floor({{ seconds_between(start, finish) }} / 3600.0) as bigint)
{%- endmacro %}

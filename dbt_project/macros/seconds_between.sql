{# Seconds from one instant to a later one, as a double. #}
{% macro seconds_between(start, finish) -%}
    (epoch({{ finish }}) - epoch({{ start }}))
{%- endmacro %}

{# A text with every match of a regular expression replaced. #}
{% macro every_match_replaced(expression, pattern, replacement) -%}
    {{ adapter.dispatch('every_match_replaced', 'letterpress')(expression, pattern, replacement) }}
{%- endmacro %}

{% macro default__every_match_replaced(expression, pattern, replacement) -%}
    regexp_replace({{ expression }}, '{{ pattern }}', '{{ replacement }}')
{%- endmacro %}

{% macro duckdb__every_match_replaced(expression, pattern, replacement) -%}
    regexp_replace({{ expression }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro %}

{% macro postgres__every_match_replaced(expression, pattern, replacement) -%}
    regexp_replace({{ expression }}, '{{ postgres_pattern(pattern) }}', '{{ replacement }}', 'g')
{%- endmacro %}

{# Whether a text contains a match of a regular expression; false where it is unknown. #}
{% macro matches(expression, pattern) -%}
    {{ adapter.dispatch('matches', 'letterpress')(expression, pattern) }}
{%- endmacro %}

{% macro default__matches(expression, pattern) -%}
    coalesce(regexp_like({{ expression }}, '{{ pattern }}'), false)
{%- endmacro %}

{% macro duckdb__matches(expression, pattern) -%}
    coalesce(regexp_matches({{ expression }}, '{{ pattern }}'), false)
{%- endmacro %}

{% macro postgres__matches(expression, pattern) -%}
    coalesce(({{ expression }}) ~ '{{ postgres_pattern(pattern) }}', false)
{%- endmacro %}

{# Whether a text contains a match of a regular expression; false where it is unknown. #}
{% macro matches(expression, pattern) -%}
    coalesce(regexp_matches({{ expression }}, '{{ pattern }}'), false)
{%- endmacro %}

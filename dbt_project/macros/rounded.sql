{#
    A number rounded to some digits, a half away from zero. A double is multiplied, rounded and divided on every
    engine alike: PostgreSQL's own ways (to an even number, or by way of a decimal) differ in the last penny.
#}
{% macro rounded(expression, digits) -%}
    {{ adapter.dispatch('rounded', 'letterpress')(expression, digits) }}
{%- endmacro %}

{% macro default__rounded(expression, digits) -%}
    round({{ expression }}, {{ digits }})
{%- endmacro %}

{% macro postgres__rounded(expression, digits) -%}
    landing.rounded({{ expression }}, {{ digits }})
{%- endmacro %}

{# Money is exact between staging and marts, so that a sum does not depend on the order of its rows. #}
{% macro money(expression) -%}
    {{ adapter.dispatch('money', 'letterpress')(expression) }}
{%- endmacro %}

{% macro default__money(expression) -%}
    cast({{ expression }} as decimal(18, 4))
{%- endmacro %}

{% macro postgres__money(expression) -%}
    cast({{ rounded(expression, 4) }} as decimal(18, 4))
{%- endmacro %}

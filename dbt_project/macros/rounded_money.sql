{# Money as the marts show it: a double rounded to pence. #}
{% macro rounded_money(expression) -%}
    cast({{ rounded(expression, 2) }} as {{ double() }})
{%- endmacro %}

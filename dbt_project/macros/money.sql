{# Money is exact between staging and marts, so that a sum does not depend on the order of its rows. #}
{% macro money(expression) -%}
    cast({{ expression }} as decimal(18, 4))
{%- endmacro %}

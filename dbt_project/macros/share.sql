{# A part of a whole as a number between 0 and 1; null where the whole is nothing. #}
{% macro share(part, whole) -%}
    cast({{ part }} as {{ double() }}) / nullif({{ whole }}, 0)
{%- endmacro %}

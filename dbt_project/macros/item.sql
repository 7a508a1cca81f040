{# One of a list's items, counted from 1; null where the list is null or shorter. #}
{% macro item(list, number) -%}
    {{ list }}[{{ number }}]
{%- endmacro %}

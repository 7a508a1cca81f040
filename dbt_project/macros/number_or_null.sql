{# A text as a double; null where it is no number. #}
{% macro number_or_null(expression) -%}
    try_cast({{ expression }} as double)
{%- endmacro %}

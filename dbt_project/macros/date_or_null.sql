{# A text such as 1980-02-29 as a date; null where it is none. #}
{% macro date_or_null(expression) -%}
    try_cast({{ expression }} as date)
{%- endmacro %}

{# A text as a date by the first of some formats (as strftime writes them) that fits; null where none does. #}
{% macro date_or_null(text, formats) -%}
    cast(try_strptime({{ text }}, [{{ quoted(formats) }}]) as date)
{%- endmacro %}

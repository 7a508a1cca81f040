{# A text as a date by the first of some formats (as strftime writes them) that fits; null where none does. #}
{% macro date_or_null(text, formats) -%}
    {{ adapter.dispatch('date_or_null', 'letterpress')(text, formats) }}
{%- endmacro %}

{% macro default__date_or_null(text, formats) -%}
    cast(try_strptime({{ text }}, [{{ quoted(formats) }}]) as date)
{%- endmacro %}

{% macro postgres__date_or_null(text, formats) -%}
    landing.date_or_null({{ text }}, array[{{ quoted(formats) }}])
{%- endmacro %}

{# A text as a double; null where it is no number. #}
{% macro number_or_null(expression) -%}
    {{ adapter.dispatch('number_or_null', 'letterpress')(expression) }}
{%- endmacro %}

{% macro default__number_or_null(expression) -%}
    try_cast({{ expression }} as {{ double() }})
{%- endmacro %}

{% macro postgres__number_or_null(expression) -%}
    landing.number_or_null({{ expression }})
{%- endmacro %}

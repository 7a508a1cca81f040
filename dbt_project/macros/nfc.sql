{# A text in Unicode's composed form, so that the same name is the same text however it was typed. #}
{% macro nfc(expression) -%}
    {{ adapter.dispatch('nfc', 'letterpress')(expression) }}
{%- endmacro %}

{% macro default__nfc(expression) -%}
    normalize({{ expression }}, nfc)
{%- endmacro %}

{% macro duckdb__nfc(expression) -%}
    nfc_normalize({{ expression }})
{%- endmacro %}

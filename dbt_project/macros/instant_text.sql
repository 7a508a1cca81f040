{# An instant as text that sorts as time does, the same in every warehouse; null where it is unknown. #}
{% macro instant_text(instant) -%}
    {{ adapter.dispatch('instant_text', 'letterpress')(instant) }}
{%- endmacro %}

{% macro default__instant_text(instant) -%}
    to_char({{ instant }} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
{%- endmacro %}

{% macro duckdb__instant_text(instant) -%}
    strftime({{ instant }} at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%f')
{%- endmacro %}

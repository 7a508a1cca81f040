{# Seconds from one instant to a later one, as a double. #}
{% macro seconds_between(start, finish) -%}
    {{ adapter.dispatch('seconds_between', 'letterpress')(start, finish) }}
{%- endmacro %}

{% macro default__seconds_between(start, finish) -%}
    (
        cast(extract(epoch from {{ finish }}) as {{ double() }})
        - cast(extract(epoch from {{ start }}) as {{ double() }})
    )
{%- endmacro %}

{% macro duckdb__seconds_between(start, finish) -%}
    (epoch({{ finish }}) - epoch({{ start }}))
{%- endmacro %}

{#
    Of a CTE that is read several times: compute it once and keep it, where the engine has a word for that. Elsewhere
    the engine decides.
#}
{% macro materialized_once() -%}
    {{ adapter.dispatch('materialized_once', 'letterpress')() }}
{%- endmacro %}

{% macro default__materialized_once() %}{% endmacro %}

{% macro duckdb__materialized_once() -%}
    materialized
{%- endmacro %}

{% macro postgres__materialized_once() -%}
    materialized
{%- endmacro %}

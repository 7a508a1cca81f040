{# The names of the time zones that the warehouse knows: any other name in `at time zone` would stop the build. #}
{% macro known_time_zones() -%}
    {{ adapter.dispatch('known_time_zones', 'letterpress')() }}
{%- endmacro %}

{% macro default__known_time_zones() -%}
    (select name from pg_timezone_names)
{%- endmacro %}

{% macro duckdb__known_time_zones() -%}
    (select name from pg_timezone_names())
{%- endmacro %}

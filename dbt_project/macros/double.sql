{# The type of a number of 64 bits with a floating point: cast(x as {{ double() }}). #}
{% macro double() -%}
    {{ adapter.dispatch('double', 'letterpress')() }}
{%- endmacro %}

{% macro default__double() -%}
    double
{%- endmacro %}

{% macro postgres__double() -%}
    double precision
{%- endmacro %}

{# The bits that two whole numbers have in common. #}
{% macro shared_bits(left, right) -%}
    {{ adapter.dispatch('shared_bits', 'letterpress')(left, right) }}
{%- endmacro %}

{% macro default__shared_bits(left, right) -%}
    ({{ left }} & {{ right }})
{%- endmacro %}

{% macro snowflake__shared_bits(left, right) -%}
    bitand({{ left }}, {{ right }})
{%- endmacro %}

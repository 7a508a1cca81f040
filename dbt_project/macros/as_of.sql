{# The instant that the warehouse is built for: nothing that happened later is in it. Never the clock. #}
{% macro as_of() -%}
    {%- if execute and var('as_of') is none -%}
        {{ exceptions.raise_compiler_error(
            "as_of: expected --vars '{as_of: \"2011-07-01T00:00:00+00:00\"}', found none"
        ) }}
    {%- endif -%}
    cast('{{ var("as_of") }}' as timestamptz)
{%- endmacro %}

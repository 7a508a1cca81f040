{# The accepted files of a landed table, as each engine knows them. #}
{% macro duckdb__accepted_files() -%}
    {{ inputs_index() }}
{%- endmacro %}

{% macro postgres__accepted_files() -%}
    landing.files
{%- endmacro %}

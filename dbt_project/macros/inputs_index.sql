{# The index of accepted files, as a relation of DuckDB; written by the warehouse build. #}
{% macro inputs_index() -%}
    {%- if var('inputs') is none -%}
        {{ exceptions.raise_compiler_error(
            "inputs: expected --vars '{inputs: /…/warehouse/inputs/<fingerprint>.parquet}', found none;"
            ~ " the index of accepted loads is written by the warehouse build"
        ) }}
    {%- endif -%}
    read_parquet('{{ var("inputs") | replace("'", "''") }}')
{%- endmacro %}

{#
    The rows of accepted loads, read from the files that the inputs index lists, each with its _load_sequence.
    The only place that reads Parquet. The index also lists a zero-row file for every declared entity, so that
    a source without loads still has its columns and types. In a unit test the given rows stand for the files.
#}
{% macro landed(relation) -%}
    {%- if not execute -%}
        (select 1 as _load_sequence)
    {%- elif relation.identifier.startswith('__dbt__cte__') -%}
        {{ relation }}
    {%- else -%}
        {%- set inputs = var('inputs') -%}
        {%- if inputs is none -%}
            {{ exceptions.raise_compiler_error(
                "inputs: expected --vars '{inputs: /…/warehouse/inputs/<fingerprint>.parquet}', found none;"
                ~ " the index of accepted loads is written by the warehouse build"
            ) }}
        {%- endif -%}
        {%- set index = "read_parquet('" ~ inputs | replace("'", "''") ~ "')" -%}
        {%- set files = run_query(
            "select uri from " ~ index ~ " where source = '" ~ relation.schema ~ "' and entity = '"
            ~ relation.identifier ~ "' order by load_sequence, uri"
        ).columns[0].values() -%}
        {%- if files | length == 0 -%}
            {{ exceptions.raise_compiler_error(
                "landing of " ~ relation.schema ~ "." ~ relation.identifier ~ ": expected at least the zero-row file"
                ~ " with its declared columns in " ~ inputs ~ ", found no file; is the entity declared in sources.yml?"
            ) }}
        {%- endif -%}
        (
            select
                landed.*,
                loads.load_sequence as _load_sequence
            from read_parquet(
                [
                    {%- for file in files %}
                    '{{ file | replace("'", "''") }}'{{ "," if not loop.last }}
                    {%- endfor %}
                ],
                union_by_name = true,
                hive_partitioning = false,
                filename = '_uri'
            ) as landed
            inner join {{ index }} as loads on landed._uri = loads.uri
        )
    {%- endif -%}
{%- endmacro %}

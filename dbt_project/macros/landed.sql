{#
    The rows of accepted loads, read from the files that the inputs index lists, each with its _load_sequence and
    its _row_number, which no other row of the load and entity has. In an incremental run of a model only the loads
    that it does not hold yet.
    The only place that reads Parquet on DuckDB; into PostgreSQL a loader brings the files' rows. The index also
    lists a zero-row file for every declared entity, so that a source without loads still has its columns and types.
    In a unit test the given rows stand for the files.
#}
{% macro landed(relation) -%}
    {%- if not execute -%}
        (select 1 as _load_sequence, 1 as _row_number)
    {%- elif relation.identifier.startswith('__dbt__cte__') -%}
        {{ relation }}
    {%- else -%}
        {{ adapter.dispatch('landed_rows', 'letterpress')(relation) }}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__landed_rows(relation) -%}
    {%- set watermark = load_watermark() -%}
    {%- set newer = '' if watermark is none else ' and (load_sequence > ' ~ watermark ~ ' or load_sequence = 0)' -%}
    {%- set index = inputs_index() -%}
    {%- set files = run_query(
        "select uri from " ~ index ~ " where source = '" ~ relation.schema ~ "' and entity = '"
        ~ relation.identifier ~ "'" ~ newer ~ " order by load_sequence, uri"
    ).columns[0].values() -%}
    {%- if files | length == 0 -%}
        {{ exceptions.raise_compiler_error(
            "landing of " ~ relation.schema ~ "." ~ relation.identifier ~ ": expected at least the zero-row file"
            ~ " with its declared columns in " ~ var("inputs") ~ ", found no file; is the entity declared in sources.yml?"
        ) }}
    {%- endif -%}
    (
        select
            landed.* exclude (file_row_number, _uri),
            loads.load_sequence as _load_sequence,
            loads.file_number * 4294967296 + landed.file_row_number as _row_number
        from read_parquet(
            [
                {%- for file in files %}
                '{{ file | replace("'", "''") }}'{{ "," if not loop.last }}
                {%- endfor %}
            ],
            union_by_name = true,
            hive_partitioning = false,
            file_row_number = true,
            filename = '_uri'
        ) as landed
        inner join (
            select
                uri,
                load_sequence,
                row_number() over (partition by load_sequence order by uri) as file_number
            from {{ index }}
            where source = '{{ relation.schema }}' and entity = '{{ relation.identifier }}'
        ) as loads on landed._uri = loads.uri
    )
{%- endmacro %}

{% macro postgres__landed_rows(relation) -%}
    {%- set watermark = load_watermark() -%}
    {%- set rows_with_number -%}
        select
            landed.*,
            files.file_number * 4294967296 + landed._file_row_number as _row_number
        from landing.{{ relation.schema }}__{{ relation.identifier }} as landed
        inner join (
            select
                file_id,
                row_number() over (partition by load_sequence order by uri) as file_number
            from landing.files
            where source = '{{ relation.schema }}' and entity = '{{ relation.identifier }}'
        ) as files on landed._file_id = files.file_id
        where
            true
            {%- if var('known_through') is not none %}
            and landed._load_sequence <= {{ var('known_through') }}
            {%- endif %}
            {%- if watermark is not none %}
            and (landed._load_sequence > {{ watermark }} or landed._load_sequence = 0)
            {%- endif %}
    {%- endset -%}
    {{ subquery(rows_with_number) }}
{%- endmacro %}

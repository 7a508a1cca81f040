{# How each engine reads the rows of `landed`. #}
{% macro duckdb__landed_rows(relation, earlier=false) -%}
    {%- set watermark = load_watermark() -%}
    {%- set compared = '<=' if earlier else '>' -%}
    {%- set wanted = '' if watermark is none else
        ' and (load_sequence ' ~ compared ~ ' ' ~ watermark ~ ' or load_sequence = 0)' -%}
    {%- set index = inputs_index() -%}
    {%- set files = run_query(
        "select uri from " ~ index ~ " where source = '" ~ relation.schema ~ "' and entity = '"
        ~ relation.identifier ~ "'" ~ wanted ~ " order by load_sequence, uri"
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

{% macro postgres__landed_rows(relation, earlier=false) -%}
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
            and (landed._load_sequence {{ '<=' if earlier else '>' }} {{ watermark }} or landed._load_sequence = 0)
            {%- endif %}
    {%- endset -%}
    {{ subquery(rows_with_number) }}
{%- endmacro %}

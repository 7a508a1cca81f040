{#
    How many rows each accepted file of every landed entity has: one row per file (or load). DuckDB reads it from the
    files' own footers, PostgreSQL from what its loader wrote down of them, so that fifty million events cost nothing
    to count.
#}
{% macro landed_row_counts() -%}
    {{ adapter.dispatch('landed_row_counts', 'letterpress')() }}
{%- endmacro %}

{% macro default__landed_row_counts() -%}
    {%- set query -%}
        {%- for entity in reconciled_entities() %}
        select
            '{{ entity.source_name }}' as source_name,
            '{{ entity.entity_name }}' as entity_name,
            landed._load_sequence,
            count(landed._load_sequence) as row_count
        from (select 1 as one) as always
        left join {{ landed(api.Relation.create(schema=entity.source_name, identifier=entity.entity_name)) }} as landed
            on always.one = 1
        group by landed._load_sequence
        {{ "union all" if not loop.last }}
        {%- else %}
        select 'a' as source_name, 'b' as entity_name, 0 as _load_sequence, 0 as row_count
        {%- endfor %}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

{% macro duckdb__landed_row_counts() -%}
    {%- if execute -%}
        {%- set names = [] -%}
        {%- for entity in reconciled_entities() -%}
            {%- do names.append(entity.source_name ~ '.' ~ entity.entity_name) -%}
        {%- endfor -%}
        {%- set index = inputs_index() -%}
        {%- set wanted = "source || '.' || entity in (" ~ quoted(names) ~ ")" -%}
        {%- set files = run_query(
            'select distinct uri from ' ~ index ~ ' where ' ~ wanted ~ ' order by uri'
        ).columns[0].values() -%}
        (
            select
                loads.source as source_name,
                loads.entity as entity_name,
                loads.load_sequence as _load_sequence,
                footers.num_rows as row_count
            from parquet_file_metadata([{{ quoted(files) }}]) as footers
            inner join {{ index }} as loads on footers.file_name = loads.uri
        )
    {%- else -%}
        (select 'a' as source_name, 'b' as entity_name, 0 as _load_sequence, 0 as row_count)
    {%- endif -%}
{%- endmacro %}

{% macro postgres__landed_row_counts() -%}
    {%- set names = [] -%}
    {%- for entity in reconciled_entities() -%}
        {%- do names.append(entity.source_name ~ '.' ~ entity.entity_name) -%}
    {%- endfor -%}
    {%- set query -%}
        select
            source as source_name,
            entity as entity_name,
            load_sequence as _load_sequence,
            row_count
        from landing.files
        where
            source || '.' || entity in ({{ quoted(names) }})
            {%- if var('known_through') is not none %}
            and load_sequence <= {{ var('known_through') }}
            {%- endif %}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

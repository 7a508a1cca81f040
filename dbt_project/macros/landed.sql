{#
    The rows of accepted loads, read from the files that the inputs index lists, each with its _load_sequence and
    its _row_number, which no other row of the load and entity has. In an incremental run of a model only the loads
    that it does not hold yet; with `earlier` only those that it does, which a model reads again that keeps no rows.
    The only place that reads Parquet on DuckDB; into PostgreSQL a loader brings the files' rows. The index also
    lists a zero-row file for every declared entity, so that a source without loads still has its columns and types.
    In a unit test the given rows stand for the files.
#}
{% macro landed(relation, earlier=false) -%}
    {%- if not execute -%}
        (select 1 as _load_sequence, 1 as _row_number)
    {%- elif relation.identifier.startswith('__dbt__cte__') -%}
        {{ relation }}
    {%- else -%}
        {{ adapter.dispatch('landed_rows', 'letterpress')(relation, earlier) }}
    {%- endif -%}
{%- endmacro %}

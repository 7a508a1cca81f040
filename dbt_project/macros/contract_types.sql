{#
    Contracts state the types as DuckDB names them; here a name that PostgreSQL does not know becomes its own. Both
    macros are dbt's, called where a model with a contract is built.
#}
{% macro postgres__get_empty_schema_sql(columns) -%}
    {{ return(dbt.default__get_empty_schema_sql(postgres_columns(columns))) }}
{%- endmacro %}

{% macro postgres__get_table_columns_and_constraints() -%}
    {%- set columns = adapter.render_raw_columns_constraints(raw_columns=postgres_columns(model['columns'])) -%}
    {%- set constraints = adapter.render_raw_model_constraints(raw_constraints=model['constraints']) -%}
    ({{ (columns + constraints) | join(', ') }})
{%- endmacro %}

{% macro postgres_columns(columns) -%}
    {%- set translated = {} -%}
    {%- for name, column in columns.items() -%}
        {%- set data_type = double() if column.data_type == 'double' else column.data_type -%}
        {%- do translated.update({name: dict(column, data_type=data_type)}) -%}
    {%- endfor -%}
    {{ return(translated) }}
{%- endmacro %}

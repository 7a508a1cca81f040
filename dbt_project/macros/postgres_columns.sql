{#
    Contracts state the types as DuckDB names them; here a name that PostgreSQL does not know becomes its own. Both
    macros are dbt's, called where a model with a contract is built.
#}
{% macro postgres_columns(columns) -%}
    {%- set translated = {} -%}
    {%- for name, column in columns.items() -%}
        {%- set data_type = double() if column.data_type == 'double' else column.data_type -%}
        {%- do translated.update({name: dict(column, data_type=data_type)}) -%}
    {%- endfor -%}
    {{ return(translated) }}
{%- endmacro %}

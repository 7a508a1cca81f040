{#
    Contracts state the types as DuckDB names them; here a name that PostgreSQL does not know becomes its own. Both
    macros are dbt's, called where a model with a contract is built.
#}
{% macro postgres__get_empty_schema_sql(columns) -%}
    {{ return(dbt.default__get_empty_schema_sql(postgres_columns(columns))) }}
{%- endmacro %}

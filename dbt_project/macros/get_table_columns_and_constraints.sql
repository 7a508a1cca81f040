{#
    Contracts state the types as DuckDB names them; here a name that PostgreSQL does not know becomes its own. Both
    macros are dbt's, called where a model with a contract is built.
#}
{% macro postgres__get_table_columns_and_constraints() -%}
    {%- set columns = adapter.render_raw_columns_constraints(raw_columns=postgres_columns(model['columns'])) -%}
    {%- set constraints = adapter.render_raw_model_constraints(raw_constraints=model['constraints']) -%}
    ({{ (columns + constraints) | join(', ') }})
{%- endmacro %}

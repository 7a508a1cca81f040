{# The values of a group as one text with commas between, sorted by themselves or by another column; null where none. #}
{% macro comma_list(column, sorted_by=none) -%}
    {{ dbt.listagg(column, "','", 'order by ' ~ (sorted_by or column)) }}
{%- endmacro %}

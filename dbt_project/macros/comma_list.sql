{# The values of a group as one text, sorted, with commas between. #}
{% macro comma_list(column) -%}
    {{ dbt.listagg(column, "','", 'order by ' ~ column) }}
{%- endmacro %}

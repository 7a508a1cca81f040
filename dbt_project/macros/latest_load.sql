{#
    When a source's table last brought something, for `dbt source freshness`: the commit of its last accepted load,
    or the latest value of a column of its rows, where Letterpress writes them itself. What has never come counts as
    come in 1970.
#}
{% macro latest_load(relation, column=none) -%}
    select coalesce(max({{ column or 'loaded_at' }}), cast('1970-01-01 00:00:00+00' as timestamptz)) as loaded_at
    {% if column -%}
    from {{ landed(relation) }}
    {%- else -%}
    from {{ adapter.dispatch('accepted_files', 'letterpress')() }}
    where source = '{{ relation.schema }}' and entity = '{{ relation.identifier }}' and load_sequence > 0
    {%- endif -%}
{%- endmacro %}

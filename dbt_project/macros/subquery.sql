{#
    A query in brackets, to be read from under a name or without one. PostgreSQL wants a name for each query that is
    read from, until its release 16; a join in brackets needs none, and to join one row without columns costs nothing.
#}
{% macro subquery(query) -%}
    {{ adapter.dispatch('subquery', 'letterpress')(query) }}
{%- endmacro %}

{% macro default__subquery(query) -%}
    (
        {{ query }}
    )
{%- endmacro %}

{% macro postgres__subquery(query) -%}
    (
        (
            {{ query }}
        ) as rows_read
        cross join (select) as always
    )
{%- endmacro %}

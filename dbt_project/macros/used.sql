{#
    The rows of a staging model that count; models that also quarantine by a join narrow it further. Of a stream of
    events, whose disposition does not know as_of, those that had happened by then: give the column of their time.
#}
{% macro used(relation, event_time=none) -%}
    {%- set rows_used -%}
        select * from {{ relation }}
        where
            (disposition = 'used' or disposition like 'used:%')
            {%- if event_time is not none %}
            and {{ event_time }} <= {{ as_of() }}
            {%- endif %}
    {%- endset -%}
    {{ subquery(rows_used) }}
{%- endmacro %}

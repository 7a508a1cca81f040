{#
    The fates of the rows of every landed entity, counted: one row per source, entity and disposition. An event that
    lies after as_of is not due yet, whatever else it is.
#}
{% macro rows_judged() -%}
    {%- set query -%}
        {%- for entity in reconciled_entities() %}
        select
            '{{ entity.source_name }}' as source_name,
            '{{ entity.entity_name }}' as entity_name,
            judged.disposition,
            count(*) as row_count
        from (
            select
                {%- if not entity.event_time and not entity.notes %}
                disposition
                {%- else %}
                case
                    {%- if entity.event_time %}
                    when {{ is_after_as_of(entity.event_time) }} then 'after_as_of'
                    {%- endif %}
                    {%- for note, condition in entity.notes.items() %}
                    when disposition = 'used' and {{ condition }} then 'used:{{ note }}'
                    {%- endfor %}
                    else disposition
                end as disposition
                {%- endif %}
            from {{ entity.relation }}
        ) as judged
        group by judged.disposition
        {{ "union all" if not loop.last }}
        {%- else %}
        select 'a' as source_name, 'b' as entity_name, 'used' as disposition, 0 as row_count
        {%- endfor %}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

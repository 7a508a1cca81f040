{#
    One row per key of a relation: each field from the first row, in the given order, that has it, and for the
    sourced fields the record_source of that row as <field>_source. A field that the first row lacks does not hide
    what a later row says. The order is total: a list of columns, each with its direction.
#}
{% macro first_filled(relation, key, order, fields, sourced) -%}
    {%- set ranked -%}
        (
            select
                *,
                row_number() over (partition by {{ key }} order by {{ order | join(', ') }}) as record_rank
            from {{ relation }}
        )
    {%- endset -%}
    {%- set query -%}
        select
            ranked.{{ key }}
            {%- for field in fields -%}
                , max(case when ranked.record_rank = placed.{{ field }}_rank then ranked.{{ field }} end) as {{ field }}
            {%- endfor %}
            {%- for field in sourced -%}
                , max(case when ranked.record_rank = placed.{{ field }}_rank then ranked.record_source end)
                as {{ field }}_source
            {%- endfor %}
        from {{ ranked }} as ranked
        inner join (
            select
                {{ key }}
                {%- for field in fields -%}
                    , min(case when {{ field }} is not null then record_rank end) as {{ field }}_rank
                {%- endfor %}
            from {{ ranked }} as records
            group by {{ key }}
        ) as placed on ranked.{{ key }} = placed.{{ key }}
        group by ranked.{{ key }}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

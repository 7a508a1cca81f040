{#
    Who is in which rule segment of dbt_project.yml (rule_segments): one row per customer and segment, as a subquery.

    One pass over the relation, however many segments there are: each person's answers are the bits of a few whole
    numbers (words), and a segment is found again by its word and bit. That needs neither arrays nor a scan for
    each segment, and is cheaper than either: what a segment costs is its predicate and its members.
#}
{% macro rule_segments(relation) -%}
    {%- set segments = var('rule_segments') -%}
    {%- set size = 30 -%}
    {%- set words = segments | batch(size) | list -%}
    {%- set keys = segments | map(attribute='key') | list -%}
    {%- if keys | length != keys | unique | list | length -%}
        {{ rule_refusal(none, 'expected each key once, found ' ~ keys | join(', ')) }}
    {%- endif -%}
    {%- set query -%}
        {%- if not segments %}
        select
            customer_id,
            cast(null as varchar) as segment_key,
            cast(null as varchar) as segment_name
        from {{ relation }}
        where 1 = 0
        {%- else %}
        select
            answers.customer_id,
            rules.segment_key,
            rules.segment_name
        from (
            select
                asked.customer_id,
                numbers.word_number,
                case numbers.word_number
                    {%- for word in words %}
                    when {{ loop.index0 }} then asked.word_{{ loop.index0 }}
                    {%- endfor %}
                end as word
            from (
                select
                    customer_id
                    {%- for word in words %},
                    {%- for segment in word %}
                    -- {{ segment.key }}
                    {{ '+ ' if not loop.first }}case when {{ rule_of(segment) }} then {{ 2 ** loop.index0 }} else 0 end
                    {%- endfor %} as word_{{ loop.index0 }}
                    {%- endfor %}
                from {{ relation }}
            ) as asked
            cross join (
                {%- for word in words %}
                {{ 'union all ' if not loop.first }}select {{ loop.index0 }} as word_number
                {%- endfor %}
            ) as numbers
        ) as answers
        inner join (
            {%- for word in words %}
            {%- set number = loop.index0 %}
            {%- for segment in word %}
            {{ 'union all ' if not (loop.first and number == 0) }}select
                {{ number }} as word_number,
                {{ 2 ** loop.index0 }} as bit,
                cast({{ rule_literal(segment.key) }} as varchar) as segment_key,
                cast({{ rule_literal(segment.name) }} as varchar) as segment_name
            {%- endfor %}
            {%- endfor %}
        ) as rules
            on answers.word_number = rules.word_number and {{ shared_bits('answers.word', 'rules.bit') }} <> 0
        where answers.word <> 0
        {%- endif %}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

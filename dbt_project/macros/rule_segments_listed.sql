{# The rule segments of dbt_project.yml themselves, one row per segment, with the rule as JSON; as a subquery. #}
{% macro rule_segments_listed() -%}
    {%- set query -%}
        {%- for segment in var('rule_segments') %}
        {%- set rule = {} %}
        {%- for kind in ['all', 'any', 'not'] if kind in segment %}{% do rule.update({kind: segment[kind]}) %}{% endfor %}
        {{ 'union all ' if not loop.first }}select
            cast({{ rule_literal(segment.key) }} as varchar) as segment_key,
            cast({{ rule_literal(segment.name) }} as varchar) as segment_name,
            cast({{ rule_literal(segment.description) if segment.description else 'null' }} as varchar) as description,
            cast({{ rule_literal(tojson(rule)) }} as varchar) as rule_definition
        {%- else %}
        select
            cast(null as varchar) as segment_key,
            cast(null as varchar) as segment_name,
            cast(null as varchar) as description,
            cast(null as varchar) as rule_definition
        where 1 = 0
        {%- endfor %}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

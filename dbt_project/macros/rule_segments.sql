{# Who is in which rule segment of dbt_project.yml (rule_segments), one row per customer and segment. #}
{% macro rule_segments(relation) -%}
    {%- for segment in var('rule_segments') %}
    select
        customer_id,
        '{{ segment.key }}' as segment_key,
        '{{ segment.name | replace("'", "''") }}' as segment_name
    from {{ relation }}
    where
        {% for condition in segment['all'] -%}
        {{ "and " if not loop.first }}{{ rule_condition(condition) }}
        {% endfor -%}
    {{ "union all" if not loop.last }}
    {%- endfor %}
{%- endmacro %}

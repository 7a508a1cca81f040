{# A rule that cannot be evaluated ends the build; `make lint` tells the same with the line and the nearest name. #}
{% macro rule_refusal(segment, what) -%}
    {{ exceptions.raise_compiler_error(
        'rule_segments in dbt_project.yml' ~ (', ' ~ segment.key if segment else '') ~ ': ' ~ what
    ) }}
{%- endmacro %}

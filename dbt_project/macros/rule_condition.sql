{#
    One condition of a rule segment (see rule_segments in dbt_project.yml) as SQL. A missing value meets a
    condition only where it says so.
#}
{% macro rule_condition(condition) -%}
    {%- set operators = {
        'at_least': '>=', 'at_most': '<=', 'more_than': '>', 'less_than': '<', 'equals': '='
    } -%}
    {%- set given = condition.keys() | reject('in', ['column', 'or_missing']) | list -%}
    {%- if given | length != 1 or given[0] not in operators -%}
        {{ exceptions.raise_compiler_error(
            "rule_segments in dbt_project.yml: expected one of " ~ operators.keys() | join(", ") ~ " for column "
            ~ condition.column ~ ", found " ~ (given | join(", ") or "nothing")
        ) }}
    {%- endif -%}
    {%- set value = condition[given[0]] -%}
    {%- set literal = "'" ~ value | replace("'", "''") ~ "'" if value is string else value -%}
    {%- set comparison = condition.column ~ ' ' ~ operators[given[0]] ~ ' ' ~ literal -%}
    coalesce({{ comparison }}, {{ 'true' if condition.or_missing else 'false' }})
{%- endmacro %}

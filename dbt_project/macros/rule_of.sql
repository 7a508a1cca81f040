{# The rule of one segment of rule_segments as SQL: exactly one of all, any and not. #}
{% macro rule_of(segment) -%}
    {%- set known = ['key', 'name', 'description'] -%}
    {%- set given = segment.keys() | reject('in', known) | list -%}
    {%- if given | length != 1 or given[0] not in ['all', 'any', 'not'] -%}
        {{ rule_refusal(segment, 'expected one of all, any, not, found ' ~ (given | join(', ') or 'nothing')) }}
    {%- endif -%}
    {{ rule_predicate({given[0]: segment[given[0]]}, segment) }}
{%- endmacro %}

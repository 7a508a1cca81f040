{#
    One predicate of a rule segment as SQL: {all: [...]}, {any: [...]}, {not: predicate}, nested at will, or a
    condition on a column. A condition is either met or not, never null, so that not is its exact contrary.
#}
{% macro rule_predicate(predicate, segment) -%}
    {%- if predicate is not mapping or predicate | length == 0 -%}
        {{ rule_refusal(segment, 'expected a condition, all, any or not, found ' ~ predicate) }}
    {%- elif 'column' in predicate -%}
        {{ rule_condition(predicate, segment) }}
    {%- elif predicate | length > 1 or predicate.keys() | first not in ['all', 'any', 'not'] -%}
        {{ rule_refusal(
            segment,
            'expected a condition with a column, or one of all, any, not, found ' ~ predicate.keys() | join(', ')
        ) }}
    {%- elif 'not' in predicate -%}
        not {{ rule_predicate(predicate['not'], segment) }}
    {%- else -%}
        {%- set kind = predicate.keys() | first -%}
        {%- set parts = predicate[kind] -%}
        {%- if parts is string or parts is mapping or parts is not iterable or not parts -%}
            {{ rule_refusal(segment, 'expected a list of predicates under ' ~ kind ~ ', found ' ~ parts) }}
        {%- endif -%}
        (
        {%- for part in parts -%}
            {{ rule_predicate(part, segment) }}{{ (' and ' if kind == 'all' else ' or ') if not loop.last }}
        {%- endfor -%}
        )
    {%- endif -%}
{%- endmacro %}

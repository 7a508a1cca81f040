{#
    One condition of a rule segment as SQL that is true or false. A missing value meets no condition, unless it says
    or_missing: true or asks is_missing. plugins/letterpress/warehouse/segments.py evaluates the same in Python.
#}
{% macro rule_condition(condition, segment) -%}
    {%- set operators = {
        'at_least': '>=', 'at_most': '<=', 'more_than': '>', 'less_than': '<', 'equals': '=', 'one_of': 'in',
        'is_missing': 'is null'
    } -%}
    {%- set given = condition.keys() | reject('in', ['column', 'or_missing']) | list -%}
    {%- set column = condition.column -%}
    {%- if given | length != 1 or given[0] not in operators -%}
        {{ rule_refusal(
            segment,
            'expected one of ' ~ operators.keys() | join(', ') ~ ' for column ' ~ column ~ ', found '
            ~ (given | join(', ') or 'nothing')
        ) }}
    {%- endif -%}
    {%- if execute -%}
        {%- set measures = graph.nodes['model.letterpress.fct_customer_measures'].columns.keys() | list -%}
        {%- if column not in measures or column == 'as_of' -%}
            {{ rule_refusal(
                segment,
                'expected a column of fct_customer_measures, found ' ~ column ~ '; known: ' ~ measures | join(', ')
            ) }}
        {%- endif -%}
    {%- endif -%}
    {%- set operator, value = given[0], condition[given[0]] -%}
    {%- if operator == 'is_missing' -%}
        {{ column }} is {{ 'null' if value else 'not null' }}
    {%- else -%}
        {%- set wanted = [] -%}
        {%- for one in (value if operator == 'one_of' else [value]) -%}
            {%- do wanted.append(rule_literal(one)) -%}
        {%- endfor -%}
        {%- set right = '(' ~ wanted | join(', ') ~ ')' if operator == 'one_of' else wanted[0] -%}
        coalesce({{ column }} {{ operators[operator] }} {{ right }}, {{ 'true' if condition.or_missing else 'false' }})
    {%- endif -%}
{%- endmacro %}

{# A value of the configuration as SQL. A fraction is read from its text, so that no engine rounds it on the way. #}
{% macro rule_literal(value) -%}
    {%- if value is boolean -%}
        {{ 'true' if value else 'false' }}
    {%- elif value is float -%}
        cast('{{ value }}' as {{ double() }})
    {%- elif value is integer -%}
        {{ value }}
    {%- elif value is string -%}
        '{{ value | replace("'", "''") }}'
    {%- else -%}
        {{ rule_refusal(none, 'expected a number, a text, true or false, found ' ~ value) }}
    {%- endif -%}
{%- endmacro %}

{#
    A name in composed Unicode, plain signs and single blanks, without the titles in front (variable name_titles). Most
    names are one word, which is looked up; only others are searched.
#}
{% macro untitled_name(expression) -%}
    {%- set titles = [] -%}
    {%- for title in var('name_titles') -%}
        {%- do titles.extend([title, title | upper, title | lower]) -%}
    {%- endfor -%}
    {%- set name = tidy_text(plain_signs(expression)) -%}
    case
        when {{ matches(expression, '^[^[:space:]\\p{Z}.]*$') }}
            then case when {{ expression }} not in ({{ quoted(titles) }}) then {{ name }} end
        else {{ every_match_replaced(name, '^((' ~ titles | join('|') ~ ')([.] *| |$))+', '') }}
    end
{%- endmacro %}

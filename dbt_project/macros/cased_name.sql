{#
    A name in one case as names are written: every part begins with a capital, also behind a hyphen, an apostrophe and
    Mc; particles (variable name_particles) stay small before another part.
#}
{% macro cased_name(expression) -%}
    {# A sign that stands in no name marks where the part behind Mc begins. #}
    {%- set marked = every_match_replaced('lower(' ~ expression ~ ')', '(^|[- ])mc([a-z])', '\\1mc|\\2') -%}
    {%- set found = {'name': "' ' || replace(" ~ words_capitalised(marked) ~ ", '|', '')"} -%}
    {%- for particle in var('name_particles') -%}
        {%- set small = particle | lower -%}
        {%- set capital = small.split(' ') | map('capitalize') | join(' ') -%}
        {%- do found.update({'name': "replace(" ~ found.name ~ ", ' " ~ capital ~ " ', ' " ~ small ~ " ')"}) -%}
    {%- endfor -%}
    trim({{ found.name }})
{%- endmacro %}

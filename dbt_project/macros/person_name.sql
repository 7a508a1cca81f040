{#
    What untitled_name leaves of a name as mail may greet with it. Rules, in their order:
    1. null where it is empty, a word that stands for nothing (variable empty_names), or holds a sign that no name has
       (variable signs_of_no_name): an address or a link in a name field is a mistake, or an attack on those who read;
    2. initials stay as they are (two letters in upper case at most, where keeps_initials);
    3. the case is kept where it is mixed; a name that is all upper or all lower case is written as names are
       (O'Brien, Smith-Jones, McDonald, van der Berg).
#}
{% macro person_name(name, keeps_initials=false) -%}
    case
        when lower({{ name }}) in ('', {{ quoted(var('empty_names')) }}) then cast(null as varchar)
        when {{ matches(name, var('signs_of_no_name')) }} then cast(null as varchar)
        {% if keeps_initials -%}
        when length({{ name }}) <= 2 and {{ name }} = upper({{ name }}) then {{ name }}
        {% endif -%}
        when {{ name }} = upper({{ name }}) or {{ name }} = lower({{ name }}) then {{ cased_name(name) }}
        else {{ name }}
    end
{%- endmacro %}

{#
    Digits as a country's national significant number, without its trunk prefix (the 0 of 020 7946 0018, which is also
    written in +44 (0)20 7946 0018); null where they are none.
#}
{% macro national_number(digits, plan) -%}
    {%- set behind_trunk -%} substr({{ digits }}, length({{ plan }}.trunk_prefix) + 1) {%- endset -%}
    case
        when
            left({{ digits }}, length({{ plan }}.trunk_prefix)) = {{ plan }}.trunk_prefix
            and {{ fits_plan(behind_trunk, plan) }}
            then {{ behind_trunk }}
        when {{ fits_plan(digits, plan) }} then {{ digits }}
    end
{%- endmacro %}

{#
    Whether digits can be a national significant number of a country (a row of the seed countries): as many as its
    numbers have, a first digit that they begin with, and not one digit over and over, as people fill in a field that
    they are forced to.
#}
{% macro fits_plan(digits, plan) -%}
    (
        length({{ digits }}) between {{ plan }}.national_min_length and {{ plan }}.national_max_length
        and {{ plan }}.first_digits like '%' || left({{ digits }}, 1) || '%'
        and replace({{ digits }}, left({{ digits }}, 1), '') <> ''
    )
{%- endmacro %}

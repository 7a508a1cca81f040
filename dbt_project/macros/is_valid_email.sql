{#
    Whether a normalised address can be one: a local part, one @, a domain with a dot, and none of the signs that
    would need quotes. Never wider than what the audits let out (EMAIL in expectations/suites/check.py).
#}
{% macro is_valid_email(expression) -%}
    {%- set sign = '[^[:space:]\\p{Z}\\p{C}<>"(),:;\\\\@' -%}
    {{ matches(expression, '^' ~ sign ~ ']+@' ~ sign ~ '.]+([.]' ~ sign ~ '.]+)*[.]' ~ sign ~ '.]{2,}$') }}
{%- endmacro %}

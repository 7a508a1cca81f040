{# Whether a normalised address can be one: a local part, one @, a domain with a dot, no blanks. #}
{% macro is_valid_email(expression) -%}
    coalesce(regexp_matches({{ expression }}, '^[^@[:space:]]+@[^@[:space:].]+([.][^@[:space:].]+)*[.][^@[:space:].]{2,}$'), false)
{%- endmacro %}

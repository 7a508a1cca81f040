{# An e-mail address as people are joined by it: lower case, without blanks around it, null where empty. #}
{% macro normalised_email(expression) -%}
    nullif(lower(trim({{ expression }})), '')
{%- endmacro %}

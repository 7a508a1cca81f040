{# An e-mail address as mail is sent to it: composed, lower case, without blanks around it, null where empty. #}
{% macro sendable_email(expression) -%}
    lower({{ tidy_text(expression) }})
{%- endmacro %}

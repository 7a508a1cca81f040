{# Whether an address is already as sendable_email and normalised_email would write it. #}
{% macro is_plain_email(expression) -%}
    {{ matches(expression, '^[a-z0-9_-]+([.][a-z0-9_-]+)*@[a-z0-9-]+([.][a-z0-9-]+)+$') }}
{%- endmacro %}

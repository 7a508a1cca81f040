{# Whether a text has only signs of a plain keyboard, as nearly all have: what is costly is spared them. #}
{% macro is_ascii(expression) -%}
    {{ matches(expression, '^[ -~]*$') }}
{%- endmacro %}

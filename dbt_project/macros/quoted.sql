{# A list of texts as SQL literals with commas between. #}
{% macro quoted(values) -%}
    '{{ values | join("', '") }}'
{%- endmacro %}

{# The text at a path such as 'page.path' of parsed JSON; null where it is absent. #}
{% macro json_text(column, path) -%}
    json_extract_string({{ column }}, '$.{{ path }}')
{%- endmacro %}

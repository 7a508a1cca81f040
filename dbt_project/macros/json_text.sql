{# The text at a path such as 'page.path' of JSON that parsed_json made ready; null where it is absent. #}
{% macro json_text(column, path) -%}
    {{ adapter.dispatch('json_text', 'letterpress')(column, path) }}
{%- endmacro %}

{% macro default__json_text(column, path) -%}
    json_extract_string({{ column }}, '$.{{ path }}')
{%- endmacro %}

{% macro postgres__json_text(column, path) -%}
    ({{ column }} #>> '{{ '{' ~ path | replace('.', ',') ~ '}' }}')
{%- endmacro %}

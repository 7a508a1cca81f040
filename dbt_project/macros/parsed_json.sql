{# JSON text made ready for json_text; null where it is malformed. #}
{% macro parsed_json(column) -%}
    {{ adapter.dispatch('parsed_json', 'letterpress')(column) }}
{%- endmacro %}

{% macro default__parsed_json(column) -%}
    try_cast({{ column }} as json)
{%- endmacro %}

{# PostgreSQL 15 has no cast that gives null; the functions in `landing` come with the loader of its rows. #}
{% macro postgres__parsed_json(column) -%}
    landing.parsed_json({{ column }})
{%- endmacro %}

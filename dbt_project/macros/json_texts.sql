{#
    The texts at several paths of JSON text, read in one go: parsing is what costs. A list for `item`; null where
    the JSON is malformed.
#}
{% macro json_texts(column, paths) -%}
    {{ adapter.dispatch('json_texts', 'letterpress')(column, paths) }}
{%- endmacro %}

{% macro default__json_texts(column, paths) -%}
    try(json_extract_string({{ column }}, ['$.{{ paths | join("', '$.") }}']))
{%- endmacro %}

{% macro postgres__json_texts(column, paths) -%}
    (
        select
            array[
                {%- for path in paths %}
                {{ json_text('parsed.document', path) }}{{ "," if not loop.last }}
                {%- endfor %}
            ]
        from (select {{ parsed_json(column) }} as document) as parsed
    )
{%- endmacro %}

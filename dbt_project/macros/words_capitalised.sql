{# A lower-case text with a capital at its beginning and behind every sign that is no letter and no digit. #}
{% macro words_capitalised(expression) -%}
    {{ adapter.dispatch('words_capitalised', 'letterpress')(expression) }}
{%- endmacro %}

{% macro default__words_capitalised(expression) -%}
    initcap({{ expression }})
{%- endmacro %}

{% macro duckdb__words_capitalised(expression) -%}
    list_aggregate(
        list_transform(
            regexp_extract_all({{ expression }}, '[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]'),
            lambda part: upper(part[1]) || part[2:]
        ),
        'string_agg',
        ''
    )
{%- endmacro %}

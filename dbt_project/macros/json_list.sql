{#
    The texts of a JSON list in their order, with commas between and therefore in none of them; null where it is
    empty, or no list.
#}
{% macro json_list(column) -%}
    {{ adapter.dispatch('json_list', 'letterpress')(column) }}
{%- endmacro %}

{% macro default__json_list(column) -%}
    nullif(
        array_to_string(
            [{{ without_commas('element') }} for element in try(from_json({{ column }}, '["varchar"]'))], ','
        ),
        ''
    )
{%- endmacro %}

{% macro postgres__json_list(column) -%}
    (
        select string_agg({{ without_commas('texts.element') }}, ',' order by texts.place)
        from
            jsonb_array_elements_text(
                case
                    when jsonb_typeof({{ parsed_json(column) }}) = 'array' then {{ parsed_json(column) }}
                    else cast('[]' as jsonb)
                end
            ) with ordinality as texts (element, place)
    )
{%- endmacro %}

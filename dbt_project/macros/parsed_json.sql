{# JSON text made ready for json_text; null where it is malformed. #}
{% macro parsed_json(column) -%}
    try_cast({{ column }} as json)
{%- endmacro %}

{# A name as it may stand in a list with commas between. #}
{% macro without_commas(text) -%}
    replace(replace({{ text }}, ', ', ' '), ',', ' ')
{%- endmacro %}

{# A text as people read it: composed, blanks of any kind as one plain blank, none around it, null where empty. #}
{% macro tidy_text(expression) -%}
    nullif(trim({{ every_match_replaced(nfc(expression), '[[:space:]\\p{Z}]+', ' ') }}), '')
{%- endmacro %}

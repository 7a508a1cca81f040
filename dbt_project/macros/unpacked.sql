{# One of the texts of `packed`, counted from 1; null where it was empty. #}
{% macro unpacked(pack, number) -%}
    nullif(split_part({{ pack }}, chr(31), {{ number + 1 }}), '')
{%- endmacro %}

{# The rows of a staging model that count; models that also quarantine by a join narrow it further. #}
{% macro used(relation) -%}
    (select * from {{ relation }} where disposition = 'used' or disposition like 'used:%')
{%- endmacro %}

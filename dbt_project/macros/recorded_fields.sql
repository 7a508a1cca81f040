{# The select list of a record that stands alone, column by column what first_filled gives for several. #}
{% macro recorded_fields(relation, key, fields, sourced) -%}
    {{ relation }}.{{ key }}
    {%- for field in fields -%}
        , {{ relation }}.{{ field }}
    {%- endfor %}
    {%- for field in sourced -%}
        , case when {{ relation }}.{{ field }} is not null then {{ relation }}.record_source end as {{ field }}_source
    {%- endfor %}
{%- endmacro %}

{# The first of some conditions that a row meets, as `quarantined:<reason>`; null where it meets none. #}
{% macro quarantine_reason(conditions) -%}
    case
        {%- for reason, condition in conditions.items() %}
        when {{ condition }} then 'quarantined:{{ reason }}'
        {%- endfor %}
    end
{%- endmacro %}

{# The name of the band that a number falls into; bands are a variable: {name: least number}, ascending. #}
{% macro band(number, bands) -%}
    case
        {%- for name, least in var(bands).items() | list | reverse %}
        when {{ number }} >= {{ least }} then '{{ name }}'
        {%- endfor %}
    end
{%- endmacro %}

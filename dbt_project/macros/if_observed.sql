{# A count of behaviour: 0 for somebody who is observed without any, null for somebody who is not observed. #}
{% macro if_observed(is_observed, count) -%}
    cast(case when {{ is_observed }} then coalesce({{ count }}, 0) end as bigint)
{%- endmacro %}

{# The number of a day's month, counted through the years: a year's distance is 12. #}
{% macro month_number(date) -%}
    (extract(year from {{ date }}) * 12 + extract(month from {{ date }}))
{%- endmacro %}

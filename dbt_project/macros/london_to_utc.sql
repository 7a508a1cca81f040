{# A wall-clock time in London, without a zone, as an instant. #}
{% macro london_to_utc(expression) -%}
    (cast({{ expression }} as timestamp) at time zone 'Europe/London')
{%- endmacro %}

{# A wall-clock time, or the first moment of a day, in a zone by its IANA name, as an instant. #}
{% macro local_to_utc(expression, time_zone) -%}
    (cast({{ expression }} as timestamp) at time zone '{{ time_zone }}')
{%- endmacro %}

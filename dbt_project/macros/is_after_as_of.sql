{# Whether an instant lies after as_of; an instant equal to it does not, and an unknown one does not. #}
{% macro is_after_as_of(instant) -%}
    coalesce({{ instant }} > {{ as_of() }}, false)
{%- endmacro %}

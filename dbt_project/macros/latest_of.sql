{# The latest of several instants that are known; null where none is. #}
{% macro latest_of(instants) -%}
    {%- set known = 'coalesce(' ~ instants | join(', ') ~ ')' -%}
    greatest(
        {%- for instant in instants -%}
            coalesce({{ instant }}, {{ known }}){{ ', ' if not loop.last }}
        {%- endfor -%}
    )
{%- endmacro %}

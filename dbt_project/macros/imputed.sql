{# A column of `with_replacements`, filled in where it is unknown; a whole number stays one. #}
{% macro imputed(people, column, kind='varchar') -%}
    {%- set replacement = people ~ '.replacement_' ~ column -%}
    {%- if kind == 'bigint' -%}
        coalesce(
            {{ people }}.{{ column }},
            cast({{ rounded('cast(' ~ replacement ~ ' as ' ~ double() ~ ')', 0) }} as bigint)
        )
    {%- else -%}
        coalesce({{ people }}.{{ column }}, {{ replacement }})
    {%- endif -%}
{%- endmacro %}

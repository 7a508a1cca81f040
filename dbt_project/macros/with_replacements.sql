{#
    A relation of people with one more column for each of the variable imputed_columns, replacement_<column>, from
    int_replacements_computed: of the person's group, else of everybody. The macro `imputed` fills it in.
#}
{% macro with_replacements(people, replacements) -%}
    (
        select
            people.*
            {%- for column, rule in var('imputed_columns').items() %},
            {% if rule.within -%}
                coalesce(of_{{ column }}.replacement, everybody.{{ column }}) as replacement_{{ column }}
            {%- else -%}
                everybody.{{ column }} as replacement_{{ column }}
            {%- endif %}
            {%- endfor %}
        from {{ people }} as people
        cross join (
            select
                {%- for column in var('imputed_columns') %}
                max(case when column_name = '{{ column }}' then replacement end) as {{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            from {{ replacements }}
            where group_value = ''
        ) as everybody
        {%- for column, rule in var('imputed_columns').items() if rule.within %}
        left join {{ replacements }} as of_{{ column }}
            on of_{{ column }}.column_name = '{{ column }}' and people.{{ rule.within }} = of_{{ column }}.group_value
        {%- endfor %}
    )
{%- endmacro %}

{# One column's branch of `replacements`: of everybody, or of each group of the column `within`. #}
{% macro replacement_of(relation, column, statistic, within) -%}
    {%- set group_value = within or "''" -%}
    {%- set known -%}
        from {{ relation }} where {{ column }} is not null {% if within %}and {{ within }} is not null{% endif %}
    {%- endset -%}
    {%- if statistic == 'most_frequent' -%}
        select
            '{{ column }}' as column_name,
            group_value,
            '{{ statistic }}' as statistic,
            replacement,
            known_count
        from (
            select
                {{ group_value }} as group_value,
                cast({{ column }} as varchar) as replacement,
                sum(count(*)) over (partition by {{ group_value }}) as known_count,
                row_number() over (
                    partition by {{ group_value }} order by count(*) desc, cast({{ column }} as varchar)
                ) as value_rank
            {{ known }}
            group by {{ (within ~ ', ') if within }}{{ column }}
        ) as counted_{{ column }}
        where value_rank = 1
    {%- else -%}
        select
            '{{ column }}' as column_name,
            {{ group_value }} as group_value,
            '{{ statistic }}' as statistic,
            {% if statistic == 'median' -%}
                cast(percentile_disc(0.5) within group (order by {{ column }}) as varchar) as replacement,
            {% else -%}
                cast(avg(cast({{ column }} as {{ double() }})) as varchar) as replacement,
            {% endif -%}
            count(*) as known_count
        {{ known }}
        {% if within %}group by {{ within }}{% else %}having count(*) > 0{% endif %}
    {%- endif -%}
{%- endmacro %}

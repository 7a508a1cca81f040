{#
    What stands in for an unknown value, from the people of whom it is known (variable imputed_columns): one row per
    column for everybody (group_value is empty), and one per group where the column is filled in within groups.
    The most frequent value among equals is the first in the alphabet; the median is a value that occurs, of an even
    number the lower of the two in the middle.
#}
{% macro replacements(relation) -%}
    {%- set branches = [] -%}
    {%- for column, rule in var('imputed_columns').items() -%}
        {%- if rule.statistic not in ['mean', 'median', 'most_frequent'] -%}
            {{ exceptions.raise_compiler_error(
                "imputed_columns in dbt_project.yml: expected mean, median or most_frequent as the statistic of "
                ~ column ~ ", found " ~ rule.statistic
            ) }}
        {%- endif -%}
        {%- do branches.append(replacement_of(relation, column, rule.statistic, none)) -%}
        {%- if rule.within -%}
            {%- do branches.append(replacement_of(relation, column, rule.statistic, rule.within)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ branches | join(' union all ') }}
{%- endmacro %}

{# How many values a list with commas between holds; an empty one and null hold none. #}
{% macro comma_list_length(list) -%}
    case
        when coalesce({{ list }}, '') = '' then 0
        else length({{ list }}) - length(replace({{ list }}, ',', '')) + 1
    end
{%- endmacro %}

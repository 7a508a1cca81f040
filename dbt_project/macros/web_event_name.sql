{# What a landed web event is called: page and identify calls have no name of their own. #}
{% macro web_event_name() -%}
    case when type = 'page' then 'Page Viewed' when type = 'identify' then 'Identified' else event end
{%- endmacro %}

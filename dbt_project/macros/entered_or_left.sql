{# 1 where a row brings the state that the row before it did not have, -1 where it ends it, 0 where it stays. #}
{% macro entered_or_left(state, now, before) -%}
    case when {{ now }} = '{{ state }}' then 1 else 0 end - case when {{ before }} = '{{ state }}' then 1 else 0 end
{%- endmacro %}

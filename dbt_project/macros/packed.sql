{#
    Several texts as one, led by an instant: the least of them is the earliest, whatever the order of its rows, and
    two of them compare without a window. `unpacked` takes a text out again.
#}
{% macro packed(instant, texts) -%}
    {{ instant_text(instant) }}
    {%- for text in texts %} || chr(31) || coalesce({{ text }}, ''){% endfor %}
{%- endmacro %}

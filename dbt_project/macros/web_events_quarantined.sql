{# Why a landed web event cannot be used: {reason: condition on the landed columns}. #}
{% macro web_events_quarantined() -%}
    {{ return({
        'missing_key': 'message_id is null',
        'missing_time': 'timestamp is null',
        'missing_visitor': 'anonymous_id is null and user_id is null',
        'missing_event': web_event_name() ~ ' is null',
    }) }}
{%- endmacro %}

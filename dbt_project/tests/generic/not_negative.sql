{# None of the given numbers is below zero: one query for all of them. #}
{% test not_negative(model, columns) %}
    select {{ columns | join(', ') }}
    from {{ model }}
    where {{ columns | join(' < 0 or ') }} < 0
{% endtest %}

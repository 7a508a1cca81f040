{# Each of the given columns has a value in every row: one query for all of them. #}
{% test filled(model, columns) %}
    select {{ columns | join(', ') }}
    from {{ model }}
    where {{ columns | join(' is null or ') }} is null
{% endtest %}

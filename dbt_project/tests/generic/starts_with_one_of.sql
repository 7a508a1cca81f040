{# A text is one of the given words, or one of them followed by a colon and more. #}
{% test starts_with_one_of(model, column_name, words) %}
    select {{ column_name }}
    from {{ model }}
    where
        not (
            false
            {% for word in words %} or {{ column_name }} = '{{ word }}' or {{ column_name }} like '{{ word }}:%' {% endfor %}
        )
{% endtest %}

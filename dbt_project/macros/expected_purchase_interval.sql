{#
    Days within which a buyer is expected back: the own average between two purchases, from so many purchases on
    that it means something and within two bounds; of everybody else what the configuration says.
#}
{% macro expected_purchase_interval(interval_days, order_count) -%}
    case
        when {{ order_count }} >= {{ var('lifecycle_own_interval_orders') }}
            then
                least(
                    greatest({{ interval_days }}, {{ var('lifecycle_least_interval_days') }}),
                    {{ var('lifecycle_most_interval_days') }}
                )
        when {{ order_count }} > 0 then {{ var('lifecycle_usual_interval_days') }}
    end
{%- endmacro %}

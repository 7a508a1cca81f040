{#
    Where a person stands: prospect (never bought), new (first bought within lifecycle_new_days), then by how many
    expected intervals passed since the last purchase: active, at_risk, churned.
#}
{% macro lifecycle_stage(first_ordered_at, last_ordered_at, interval_days, order_count) -%}
    {%- set intervals -%}
        ({{ seconds_between(last_ordered_at, as_of()) }} / 86400.0
        / {{ expected_purchase_interval(interval_days, order_count) }})
    {%- endset -%}
    case
        when {{ last_ordered_at }} is null then 'prospect'
        when {{ days_between(first_ordered_at, as_of()) }} < {{ var('lifecycle_new_days') }} then 'new'
        when {{ intervals }} <= {{ var('lifecycle_at_risk_intervals') }} then 'active'
        when {{ intervals }} <= {{ var('lifecycle_churned_intervals') }} then 'at_risk'
        else 'churned'
    end
{%- endmacro %}

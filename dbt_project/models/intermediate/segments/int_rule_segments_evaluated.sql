with customers as (
    select * from {{ ref('int_customers_measured') }}
),

evaluated as (
    {% for segment in var('rule_segments') %}
    select
        customer_id,
        '{{ segment.key }}' as segment_key,
        '{{ segment.name | replace("'", "''") }}' as segment_name
    from customers
    where
        {% for condition in segment['all'] -%}
        {{ "and " if not loop.first }}{{ rule_condition(condition) }}
        {% endfor %}
    {{ "union all" if not loop.last }}
    {% endfor %}
),

final as (
    select * from evaluated
)

select * from final

with customers as (
    select * from {{ ref('int_customers_measured') }}
),

evaluated as (
    {{ rule_segments('customers') }}
),

final as (
    select
        customer_id,
        segment_key,
        segment_name
    from evaluated
)

select * from final

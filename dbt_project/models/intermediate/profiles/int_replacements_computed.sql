with customers as (
    select * from {{ ref('int_customers_profiled') }}
),

computed as (
    {{ replacements('customers') }}
),

final as (
    select
        column_name,
        group_value,
        statistic,
        replacement,
        known_count
    from computed
)

select * from final

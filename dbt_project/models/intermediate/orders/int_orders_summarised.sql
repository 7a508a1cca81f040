with orders as (
    select * from {{ ref('int_orders_unified') }}
),

-- Days are whole ones before as_of: the last 30 days are what lies less than 30 of them back.
aged as (
    select
        *,
        case when is_purchase then 1 else 0 end as purchase_count,
        {{ days_between('ordered_at', as_of()) }} as age_days,
        {{ month_number(utc_date(as_of())) }} - {{ month_number(utc_date('ordered_at')) }} as months_ago
    from orders
    where customer_id is not null
),

summed as (
    select
        customer_id,
        sum(purchase_count) as order_count,
        {% for days in [7, 30, 90, 365] -%}
            sum(case when age_days < {{ days }} then purchase_count else 0 end)
                as order_count_{{ days }}_days,
            sum(case when age_days < {{ days }} then net_amount else 0 end) as spend_{{ days }}_days,
        {% endfor -%}
        sum(case when months_ago = 12 then purchase_count else 0 end) as order_count_month_year_ago,
        sum(case when months_ago = 12 then net_amount else 0 end) as spend_month_year_ago,
        sum(case when is_purchase then item_count else 0 end) as purchased_item_count,
        sum(case when refunded_amount > 0 then 1 else 0 end) as refunded_order_count,
        sum(net_amount) as total_spend,
        sum(case when is_purchase then net_amount else 0 end) as purchase_amount,
        max(case when is_purchase then net_amount end) as largest_order_amount,
        sum(gross_amount) as gross_amount,
        sum(refunded_amount) as refunded_amount,
        min(source_system) as least_order_source,
        max(source_system) as greatest_order_source,
        min(case when is_purchase then ordered_at end) as first_ordered_at,
        max(case when is_purchase then ordered_at end) as last_ordered_at,
        max(ordered_at) as last_order_seen_at
    from aged
    group by customer_id
),

final as (
    select
        *,
        {{ seconds_between('first_ordered_at', 'last_ordered_at') }} / 86400.0 / nullif(order_count - 1, 0)
            as purchase_interval_days
    from summed
)

select * from final

with customers as (
    select * from {{ used(ref('stg_crm__customers')) }}
),

orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

accounts as (
    select
        'shop:' || shop_customer_id as source_customer_key,
        'shop' as source_system,
        sendable_email,
        normalised_email,
        is_email_valid,
        signed_up_at as first_seen_at
    from customers
),

ranked_orders as (
    select
        *,
        row_number() over (
            partition by shop_customer_id
            order by case when is_email_valid then 0 else 1 end, ordered_at desc, shop_order_id asc
        ) as latest_of_account,
        row_number() over (
            partition by shop_customer_id, normalised_email
            order by ordered_at, shop_order_id
        ) as earliest_of_email,
        min(ordered_at) over (partition by shop_customer_id) as first_ordered_at
    from orders
),

-- Orders land hourly and customers daily: an account may be known by its order alone for some hours.
accounts_by_order as (
    select
        'shop:' || ranked_orders.shop_customer_id as source_customer_key,
        'shop' as source_system,
        ranked_orders.sendable_email,
        ranked_orders.normalised_email,
        ranked_orders.is_email_valid,
        ranked_orders.first_ordered_at as first_seen_at
    from ranked_orders
    left join customers on ranked_orders.shop_customer_id = customers.shop_customer_id
    where
        ranked_orders.shop_customer_id is not null
        and ranked_orders.latest_of_account = 1
        and customers.shop_customer_id is null
),

guests as (
    select
        'shop_order:' || shop_order_id as source_customer_key,
        'shop' as source_system,
        sendable_email,
        normalised_email,
        is_email_valid,
        ordered_at as first_seen_at
    from ranked_orders
    where shop_customer_id is null and is_email_valid and earliest_of_email = 1
),

retail_customers as (
    select
        'online_retail:' || retail_customer_id as source_customer_key,
        'online_retail' as source_system,
        cast(null as varchar) as sendable_email,
        cast(null as varchar) as normalised_email,
        false as is_email_valid,
        min(invoiced_at) as first_seen_at
    from invoice_lines
    where retail_customer_id is not null
    group by retail_customer_id
),

final as (
    select * from accounts
    union all
    select * from accounts_by_order
    union all
    select * from guests
    union all
    select * from retail_customers
)

select * from final

with customers as (
    select * from {{ used(ref('stg_crm__customers')) }}
),

orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

shared_identifiers as (
    select * from {{ ref('identity_shared_identifiers') }}
),

-- Orders land hourly and customers daily: an account may be known by its order alone for some hours.
orders_of_unknown_accounts as (
    select
        orders.*,
        row_number() over (
            partition by orders.shop_customer_id
            order by
                case when orders.is_email_valid then 0 else 1 end,
                orders.ordered_at desc,
                orders.shop_order_id asc
        ) as order_rank,
        min(orders.ordered_at) over (partition by orders.shop_customer_id) as first_ordered_at
    from orders
    left join customers on orders.shop_customer_id = customers.shop_customer_id
    where orders.shop_customer_id is not null and customers.shop_customer_id is null
),

accounts_by_order as (
    select
        'shop:' || shop_customer_id as source_customer_key,
        'shop' as source_system,
        'account' as identifier_kind,
        sendable_email,
        normalised_email,
        cast(null as varchar) as full_name,
        is_email_valid,
        first_ordered_at as first_seen_at
    from orders_of_unknown_accounts
    where order_rank = 1
),

-- An address that is nobody's names nobody.
guest_orders as (
    select
        orders.*,
        row_number() over (
            partition by orders.normalised_email
            order by orders.ordered_at, orders.shop_order_id
        ) as order_rank
    from orders
    left join shared_identifiers as listed_emails
        on listed_emails.identifier_kind = 'email' and orders.normalised_email = listed_emails.identifier
    left join shared_identifiers as listed_local_parts
        on
            listed_local_parts.identifier_kind = 'email_local_part'
            and split_part(orders.normalised_email, '@', 1) = listed_local_parts.identifier
    where
        orders.shop_customer_id is null
        and orders.is_email_valid
        and listed_emails.identifier is null
        and listed_local_parts.identifier is null
),

-- Who ordered without an account is known by the address.
guests as (
    select
        {{ email_identifier('normalised_email') }} as source_customer_key,
        'shop' as source_system,
        'email' as identifier_kind,
        sendable_email,
        normalised_email,
        cast(null as varchar) as full_name,
        is_email_valid,
        ordered_at as first_seen_at
    from guest_orders
    where order_rank = 1
),

final as (
    select * from accounts_by_order
    union all
    select * from guests
)

select * from final

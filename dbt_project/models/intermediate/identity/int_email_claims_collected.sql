{{ config(materialized='view') }}

-- One model reads it: it is written nowhere.
with identifiers as (
    select * from {{ ref('int_identifiers_collected') }}
    where is_email_valid and identifier_kind = 'account'
),

orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

stated as (
    select
        source_customer_key,
        source_system,
        normalised_email,
        full_name,
        first_seen_at,
        'account_email' as edge_kind
    from identifiers
),

ordered as (
    select
        normalised_email,
        'shop:' || shop_customer_id as source_customer_key,
        min(ordered_at) as first_seen_at
    from orders
    where shop_customer_id is not null and is_email_valid
    group by shop_customer_id, normalised_email
),

-- An order may name another address than the account does: evidence only where no account states the address.
ordered_with as (
    select
        ordered.source_customer_key,
        'shop' as source_system,
        ordered.normalised_email,
        cast(null as varchar) as full_name,
        ordered.first_seen_at,
        'order_email' as edge_kind
    from ordered
    left join identifiers on ordered.normalised_email = identifiers.normalised_email
    where identifiers.source_customer_key is null
),

final as (
    select * from stated
    union all
    select * from ordered_with
)

select * from final

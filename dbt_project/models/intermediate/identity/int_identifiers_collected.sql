{{ config(materialized='view') }}

-- A union of tables is read as cheaply as a copy of them: it is written nowhere.
with customers as (
    select * from {{ used(ref('stg_crm__customers')) }}
),

ordering as (
    select
        source_customer_key,
        source_system,
        identifier_kind,
        sendable_email,
        normalised_email,
        full_name,
        is_email_valid,
        first_seen_at
    from {{ ref('int_order_identifiers_collected') }}
),

invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

households as (
    select * from {{ ref('int_households_described') }}
),

accounts as (
    select
        'shop:' || shop_customer_id as source_customer_key,
        'shop' as source_system,
        'account' as identifier_kind,
        sendable_email,
        normalised_email,
        lower(first_name || ' ' || last_name) as full_name,
        is_email_valid,
        signed_up_at as first_seen_at
    from customers
),

retail_customers as (
    select
        'online_retail:' || retail_customer_id as source_customer_key,
        'online_retail' as source_system,
        'account' as identifier_kind,
        cast(null as varchar) as sendable_email,
        cast(null as varchar) as normalised_email,
        cast(null as varchar) as full_name,
        false as is_email_valid,
        min(invoiced_at) as first_seen_at
    from invoice_lines
    where retail_customer_id is not null
    group by retail_customer_id
),

journey_households as (
    select
        source_customer_key,
        'complete_journey' as source_system,
        'account' as identifier_kind,
        cast(null as varchar) as sendable_email,
        cast(null as varchar) as normalised_email,
        cast(null as varchar) as full_name,
        false as is_email_valid,
        first_seen_at
    from households
),

final as (
    select * from accounts
    union all
    select * from ordering
    union all
    select * from retail_customers
    union all
    select * from journey_households
)

select * from final

with claims as (
    select * from {{ ref('int_email_claims_judged') }}
),

links as (
    select * from {{ ref('int_identity_links_collected') }}
    where edge_kind = 'device_and_name'
),

logins as (
    select * from {{ ref('int_device_logins_summarised') }}
),

visitors as (
    select * from {{ ref('int_visitors_resolved') }}
),

guest_orders as (
    select
        {{ email_identifier('normalised_email') }} as email_identifier,
        min(ordered_at) as first_seen_at
    from {{ used(ref('stg_shop__orders')) }} as orders
    where shop_customer_id is null and is_email_valid
    group by normalised_email
),

final as (
    select
        source_customer_key as left_identifier,
        email_identifier as right_identifier,
        edge_kind,
        source_system,
        refusal_reason,
        is_joining,
        first_seen_at
    from claims
    union all
    select
        'shop:guest orders' as left_identifier,
        email_identifier as right_identifier,
        'guest_order' as edge_kind,
        'shop' as source_system,
        cast(null as varchar) as refusal_reason,
        true as is_joining,
        first_seen_at
    from guest_orders
    union all
    select
        left_identifier,
        right_identifier,
        edge_kind,
        'web' as source_system,
        cast(null as varchar) as refusal_reason,
        true as is_joining,
        first_seen_at
    from links
    union all
    select
        'device:' || logins.anonymous_id as left_identifier,
        'shop:' || logins.shop_customer_id as right_identifier,
        'device_login' as edge_kind,
        'web' as source_system,
        case when visitors.customer_id is null then 'several_people' end as refusal_reason,
        visitors.customer_id is not null as is_joining,
        logins.first_seen_at
    from logins
    left join visitors on logins.anonymous_id = visitors.anonymous_id
)

select * from final

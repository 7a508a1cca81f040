with claims as (
    select * from {{ ref('int_email_claims_judged') }}
    where is_joining
),

logins as (
    select * from {{ ref('int_device_logins_summarised') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_collected') }}
    where identifier_kind = 'account' and full_name is not null
),

shared_identifiers as (
    select * from {{ ref('identity_shared_identifiers') }}
    where identifier_kind = 'device'
),

cuts as (
    select * from {{ ref('identity_cuts') }}
),

-- The account's own address stands for the account; further addresses are linked with it.
addresses as (
    select
        source_customer_key,
        email_identifier as group_key
    from claims
    where edge_kind = 'account_email'
),

linked_by_order as (
    select
        claims.source_customer_key as left_identifier,
        claims.email_identifier as right_identifier,
        'order_email' as edge_kind,
        coalesce(addresses.group_key, claims.source_customer_key) as left_group,
        claims.email_identifier as right_group,
        claims.first_seen_at
    from claims
    left join addresses on claims.source_customer_key = addresses.source_customer_key
    where claims.edge_kind = 'order_email'
),

-- A device with many accounts is a shared one, whatever their names.
accounts_on_devices as (
    select
        anonymous_id,
        count(*) as account_count
    from logins
    group by anonymous_id
    having count(*) between 2 and {{ var('identity_accounts_per_device') }}
),

named_logins as (
    select
        logins.anonymous_id,
        identifiers.source_customer_key,
        identifiers.full_name,
        logins.first_seen_at
    from logins
    inner join accounts_on_devices on logins.anonymous_id = accounts_on_devices.anonymous_id
    inner join identifiers on 'shop:' || logins.shop_customer_id = identifiers.source_customer_key
    left join shared_identifiers on logins.anonymous_id = shared_identifiers.identifier
    where shared_identifiers.identifier is null
),

-- Two accounts of one full name that sign in on one device are one person's, whatever their addresses.
met as (
    select
        one.source_customer_key as left_identifier,
        other.source_customer_key as right_identifier,
        max(
            case
                when one.first_seen_at > other.first_seen_at then one.first_seen_at
                else other.first_seen_at
            end
        ) as first_seen_at
    from named_logins as one
    inner join named_logins as other
        on
            one.anonymous_id = other.anonymous_id
            and one.full_name = other.full_name
            and one.source_customer_key < other.source_customer_key
    group by one.source_customer_key, other.source_customer_key
),

linked_by_device as (
    select
        met.left_identifier,
        met.right_identifier,
        'device_and_name' as edge_kind,
        coalesce(left_addresses.group_key, met.left_identifier) as left_group,
        coalesce(right_addresses.group_key, met.right_identifier) as right_group,
        met.first_seen_at
    from met
    left join addresses as left_addresses on met.left_identifier = left_addresses.source_customer_key
    left join addresses as right_addresses on met.right_identifier = right_addresses.source_customer_key
    left join cuts
        on met.left_identifier = cuts.left_identifier and met.right_identifier = cuts.right_identifier
    where cuts.left_identifier is null
),

final as (
    select * from linked_by_order
    union all
    select * from linked_by_device
)

select * from final

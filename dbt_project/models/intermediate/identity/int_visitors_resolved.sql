with logins as (
    select * from {{ ref('int_device_logins_summarised') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
    where identifier_kind = 'account'
),

shared_identifiers as (
    select * from {{ ref('identity_shared_identifiers') }}
    where identifier_kind = 'device'
),

cuts as (
    select * from {{ ref('identity_cuts') }}
),

-- A device that several people signed in on tells nothing about its anonymous events, and a listed one (a
-- kiosk) tells nothing at all. An account that has not landed yet is somebody else.
final as (
    select
        logins.anonymous_id,
        min(identifiers.customer_id) as customer_id,
        min(logins.first_seen_at) as identified_at
    from logins
    left join identifiers on 'shop:' || logins.shop_customer_id = identifiers.source_customer_key
    left join shared_identifiers on logins.anonymous_id = shared_identifiers.identifier
    left join cuts
        on
            'device:' || logins.anonymous_id = cuts.left_identifier
            and 'shop:' || logins.shop_customer_id = cuts.right_identifier
    where shared_identifiers.identifier is null and cuts.left_identifier is null
    group by logins.anonymous_id
    having
        min(identifiers.customer_id) is not null
        and min(coalesce(identifiers.customer_id, 'shop:' || logins.shop_customer_id))
        = max(coalesce(identifiers.customer_id, 'shop:' || logins.shop_customer_id))
)

select * from final

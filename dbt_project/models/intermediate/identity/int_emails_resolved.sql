with claims as (
    select * from {{ ref('int_email_claims_judged') }}
    where is_joining
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

-- Of an account and a guest with one address the address is one person's: both have the same id.
owned as (
    select
        claims.normalised_email,
        claims.email_identifier,
        identifiers.customer_id
    from claims
    inner join identifiers on claims.source_customer_key = identifiers.source_customer_key
    union all
    select
        normalised_email,
        source_customer_key as email_identifier,
        customer_id
    from identifiers
    where identifier_kind = 'email'
),

final as (
    select
        normalised_email,
        max(email_identifier) as email_identifier,
        min(customer_id) as customer_id
    from owned
    group by normalised_email
    having min(customer_id) = max(customer_id)
)

select * from final

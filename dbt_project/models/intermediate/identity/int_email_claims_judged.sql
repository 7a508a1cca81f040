with claims as (
    select * from {{ ref('int_email_claims_collected') }}
),

shared_identifiers as (
    select * from {{ ref('identity_shared_identifiers') }}
),

cuts as (
    select * from {{ ref('identity_cuts') }}
),

-- Most addresses have one account: what follows compares only those with more.
contested as (
    select normalised_email
    from claims
    group by normalised_email
    having count(*) > 1
),

owners as (
    select
        claims.normalised_email,
        claims.full_name,
        row_number() over (
            partition by claims.normalised_email
            order by
                case when claims.full_name is null then 1 else 0 end,
                claims.first_seen_at,
                claims.source_customer_key
        ) as owner_rank
    from claims
    inner join contested on claims.normalised_email = contested.normalised_email
),

-- One address under two names is two people's: the earliest named account owns it, and those that agree.
compared as (
    select
        claims.*,
        {{ email_identifier('claims.normalised_email') }} as email_identifier,
        coalesce(claims.full_name <> owners.full_name, false) as is_contradicted
    from claims
    left join owners on claims.normalised_email = owners.normalised_email and owners.owner_rank = 1
),

counted as (
    select
        normalised_email,
        count(*) as account_count
    from compared
    where not is_contradicted
    group by normalised_email
    having count(*) > {{ var('identity_accounts_per_email') }}
),

judged as (
    select
        compared.*,
        case
            when cuts.left_identifier is not null then 'cut'
            when listed_emails.identifier is not null or listed_local_parts.identifier is not null
                then 'shared_identifier'
            when counted.normalised_email is not null then 'too_many_accounts'
            when compared.is_contradicted then 'name_contradicts'
        end as refusal_reason
    from compared
    left join cuts
        on
            compared.source_customer_key = cuts.left_identifier
            and compared.email_identifier = cuts.right_identifier
    left join shared_identifiers as listed_emails
        on listed_emails.identifier_kind = 'email' and compared.normalised_email = listed_emails.identifier
    left join shared_identifiers as listed_local_parts
        on
            listed_local_parts.identifier_kind = 'email_local_part'
            and split_part(compared.normalised_email, '@', 1) = listed_local_parts.identifier
    left join counted on compared.normalised_email = counted.normalised_email
),

final as (
    select
        source_customer_key,
        email_identifier,
        normalised_email,
        source_system,
        edge_kind,
        refusal_reason,
        first_seen_at,
        refusal_reason is null as is_joining
    from judged
)

select * from final

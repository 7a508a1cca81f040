with identifiers as (
    select * from {{ ref('int_identifiers_collected') }}
),

claims as (
    select * from {{ ref('int_email_claims_judged') }}
    where is_joining and edge_kind = 'account_email'
),

components as (
    select * from {{ ref('int_components_propagated') }}
),

-- People are joined by an address that is theirs alone; everybody else stays alone.
grouped as (
    select
        identifiers.*,
        coalesce(claims.email_identifier, identifiers.source_customer_key) as group_key
    from identifiers
    left join claims on identifiers.source_customer_key = claims.source_customer_key
),

linked as (
    select
        grouped.*,
        components.component_key
    from grouped
    left join components on grouped.group_key = components.group_key
),

-- Links that tie more accounts together than one person has are wrong somewhere: there the address counts.
oversize as (
    select component_key
    from linked
    where component_key is not null
    group by component_key
    having count(*) > {{ var('identity_accounts_per_person') }}
),

joined as (
    select
        linked.*,
        case
            when linked.component_key is not null and oversize.component_key is null then linked.component_key
            else linked.group_key
        end as person_key
    from linked
    left join oversize on linked.component_key = oversize.component_key
),

named as (
    select
        *,
        first_value(source_customer_key) over (
            partition by person_key
            order by first_seen_at, identifier_kind, source_customer_key
        ) as earliest_customer_key
    from joined
),

final as (
    select
        source_customer_key,
        {{ keyed_hash('earliest_customer_key') }} as customer_id,
        source_system,
        identifier_kind,
        case when is_email_valid then sendable_email end as sendable_email,
        case when is_email_valid then normalised_email end as normalised_email,
        normalised_email is not null and not is_email_valid as has_invalid_email,
        first_seen_at
    from named
)

select * from final

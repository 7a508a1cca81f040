with identifiers as (
    select * from {{ ref('int_identifiers_collected') }}
),

-- People are joined by a valid normalised e-mail; everybody else stays alone.
grouped as (
    select
        *,
        case when is_email_valid then 'email:' || normalised_email else 'alone:' || source_customer_key end
            as person_key
    from identifiers
),

named as (
    select
        *,
        first_value(source_customer_key) over (
            partition by person_key
            order by first_seen_at, source_customer_key
        ) as earliest_customer_key
    from grouped
),

final as (
    select
        source_customer_key,
        {{ keyed_hash('earliest_customer_key') }} as customer_id,
        source_system,
        case when is_email_valid then sendable_email end as sendable_email,
        case when is_email_valid then normalised_email end as normalised_email,
        normalised_email is not null and not is_email_valid as has_invalid_email,
        first_seen_at
    from named
)

select * from final

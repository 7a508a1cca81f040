with identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

accounts as (
    select * from {{ used(ref('stg_crm__customers')) }}
),

countries as (
    select * from {{ ref('int_retail_countries_ranked') }}
),

described as (
    select
        identifiers.*,
        accounts.first_name,
        accounts.last_name,
        accounts.time_zone,
        accounts.loyalty_tier,
        accounts.birth_date,
        coalesce(accounts.country_code, countries.country_code) as country_code,
        coalesce(accounts.updated_at, identifiers.first_seen_at) as described_at,
        accounts.shop_customer_id is not null as has_account
    from identifiers
    left join accounts on identifiers.source_customer_key = 'shop:' || accounts.shop_customer_id
    left join countries on identifiers.source_customer_key = countries.source_customer_key
),

-- Of several accounts the one that was changed last describes the person.
ranked as (
    select
        *,
        row_number() over (
            partition by customer_id
            order by has_account desc, described_at desc, source_customer_key asc
        ) as description_rank
    from described
),

systems as (
    select distinct
        customer_id,
        source_system
    from identifiers
),

listed as (
    select
        customer_id,
        {{ comma_list('source_system') }} as source_systems
    from systems
    group by customer_id
),

counted as (
    select
        customer_id,
        count(*) as source_customer_count,
        min(first_seen_at) as first_seen_at,
        max(described_at) as last_described_at
    from described
    group by customer_id
),

final as (
    select
        ranked.customer_id,
        ranked.sendable_email as email,
        ranked.normalised_email,
        ranked.first_name,
        ranked.last_name,
        ranked.country_code,
        ranked.time_zone,
        ranked.loyalty_tier,
        listed.source_systems,
        counted.source_customer_count,
        ranked.has_invalid_email,
        ranked.birth_date,
        counted.first_seen_at,
        counted.last_described_at
    from ranked
    inner join listed on ranked.customer_id = listed.customer_id
    inner join counted on ranked.customer_id = counted.customer_id
    where ranked.description_rank = 1
)

select * from final

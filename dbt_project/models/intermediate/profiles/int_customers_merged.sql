{%- set sourced = ['email', 'first_name', 'last_name', 'phone', 'country_code', 'time_zone', 'loyalty_tier',
    'preferences', 'age_band', 'birth_date'] %}
{%- set fields = sourced + ['normalised_email', 'income_band', 'household_size_band',
    'household_composition'] %}
{%- set order = ['account_order asc', 'described_at desc', 'source_customer_key asc'] -%}
with identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

accounts as (
    select * from {{ used(ref('stg_crm__customers')) }}
),

countries as (
    select * from {{ ref('int_retail_countries_ranked') }}
),

households as (
    select * from {{ ref('int_households_described') }}
),

records as (
    select
        identifiers.customer_id,
        identifiers.source_customer_key,
        identifiers.sendable_email as email,
        identifiers.normalised_email,
        accounts.first_name,
        accounts.last_name,
        accounts.phone,
        accounts.loyalty_tier,
        households.age_band,
        households.income_band,
        households.household_size_band,
        households.household_composition,
        identifiers.source_system,
        identifiers.has_invalid_email,
        accounts.birth_date,
        identifiers.first_seen_at,
        nullif(accounts.preferences, '[]') as preferences,
        coalesce(accounts.country_code, countries.country_code, households.country_code) as country_code,
        coalesce(accounts.time_zone, households.time_zone) as time_zone,
        coalesce(accounts.updated_at, identifiers.first_seen_at) as described_at,
        case when accounts.shop_customer_id is null then 1 else 0 end as account_order,
        case
            when accounts.shop_customer_id is not null then 'crm'
            when identifiers.source_system = 'shop' then 'shop_order'
            else identifiers.source_system
        end as record_source
    from identifiers
    left join accounts on identifiers.source_customer_key = 'shop:' || accounts.shop_customer_id
    left join countries on identifiers.source_customer_key = countries.source_customer_key
    left join households on identifiers.source_customer_key = households.source_customer_key
),

-- Nearly everybody has one account with an address, to which an order adds nothing: records are compared for
-- the others alone.
people as (
    select
        customer_id,
        min(source_system) as least_system,
        count(*) as source_customer_count,
        max(case when has_invalid_email then 1 else 0 end) as invalid_email_count,
        count(*) = 1
        or (
            sum(case when account_order = 1 then 0 when email is null then 2 else 1 end) = 1
            and min(source_system) = max(source_system)
        ) as is_described_once,
        min(first_seen_at) as first_seen_at,
        max(described_at) as last_described_at
    from records
    group by customer_id
),

compared as (
    select records.*
    from records
    inner join people on records.customer_id = people.customer_id and not people.is_described_once
),

survived as (
    select {{ recorded_fields('records', 'customer_id', fields, sourced) }}
    from records
    inner join people on records.customer_id = people.customer_id and people.is_described_once
    where records.account_order = 0 or people.source_customer_count = 1
    union all
    select * from {{ first_filled('compared', 'customer_id', order, fields, sourced) }} as found
),

listed as (
    select
        customer_id,
        {{ comma_list('source_system') }} as source_systems
    from (
        select distinct
            customer_id,
            source_system
        from compared
    ) as systems
    group by customer_id
),

final as (
    select
        survived.*,
        people.source_customer_count,
        people.first_seen_at,
        people.last_described_at,
        coalesce(listed.source_systems, people.least_system) as source_systems,
        survived.email is null and people.invalid_email_count > 0 as has_invalid_email
    from survived
    inner join people on survived.customer_id = people.customer_id
    left join listed on survived.customer_id = listed.customer_id
)

select * from final

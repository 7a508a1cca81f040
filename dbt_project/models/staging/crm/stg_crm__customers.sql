{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='shop_customer_id') }}

with landed as (
    select * from {{ landed(source('crm', 'customers')) }}
),

country_names as (
    select * from {{ ref('country_names') }}
),

-- Customers write few countries, so that each is looked up once.
country_texts as (
    select distinct country_code as country_as_given
    from landed
),

countries as (
    select
        country_texts.country_as_given,
        country_names.country_code
    from country_texts
    inner join country_names
        on
            {{ country_key('country_texts.country_as_given') }}
            = {{ country_key('country_names.country_name') }}
),

renamed as (
    select
        landed.customer_id as shop_customer_id,
        landed.email as email_as_given,
        {{ sendable_email('landed.email') }} as sendable_email,
        {{ normalised_email('landed.email') }} as normalised_email,
        landed.phone as phone_as_given,
        {{ untitled_name('landed.first_name') }} as first_name,
        {{ tidy_text(plain_signs('landed.last_name')) }} as last_name,
        landed.country_code as country_as_given,
        countries.country_code,
        {{ tidy_text('landed.time_zone') }} as time_zone,
        landed.preferences,
        landed.loyalty_tier,
        {{ tidy_text('landed.birth_date') }} as birth_date_as_given,
        landed.signed_up_at,
        landed.updated_at,
        landed._load_sequence,
        landed._row_hash
    from landed
    left join countries on landed.country_code = countries.country_as_given
),

phones as (
    select * from {{ e164_phones('renamed', text='phone_as_given', country_code='country_code') }}
),

typed as (
    select
        renamed.shop_customer_id,
        renamed.email_as_given,
        renamed.sendable_email,
        renamed.normalised_email,
        renamed.phone_as_given,
        phones.phone,
        {{ person_name('renamed.first_name', keeps_initials=true) }} as first_name,
        {{ person_name('renamed.last_name') }} as last_name,
        renamed.country_as_given,
        renamed.country_code,
        renamed.time_zone,
        renamed.preferences,
        renamed.loyalty_tier,
        {{ is_valid_email('renamed.normalised_email') }} as is_email_valid,
        renamed.birth_date_as_given,
        {{ birth_date_or_null('renamed.birth_date_as_given', 'renamed.country_code') }} as birth_date,
        renamed.signed_up_at,
        renamed.updated_at,
        renamed._load_sequence,
        renamed._row_hash
    from renamed
    left join phones
        on
            renamed.phone_as_given = phones.phone_as_given
            and coalesce(renamed.country_code, '') = phones.country_code
),

final as (
    select
        *,
        {{ disposition(
            key=['shop_customer_id'],
            event_time='updated_at',
            quarantined={
                'missing_key': 'shop_customer_id is null',
                'missing_time': 'updated_at is null or signed_up_at is null',
            },
            repeated='superseded',
        ) }} as disposition
    from {{ with_known_versions('typed', key='shop_customer_id') }} as versions
)

select * from final

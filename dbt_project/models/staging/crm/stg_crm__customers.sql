with landed as (
    select * from {{ landed(source('crm', 'customers')) }}
),

renamed as (
    select
        customer_id as shop_customer_id,
        email as email_as_given,
        {{ normalised_email('email') }} as normalised_email,
        phone,
        nullif(trim(first_name), '') as first_name,
        nullif(trim(last_name), '') as last_name,
        upper(nullif(trim(country_code), '')) as country_code,
        time_zone,
        preferences,
        loyalty_tier,
        {{ is_valid_email(normalised_email('email')) }} as is_email_valid,
        {{ date_or_null('birth_date') }} as birth_date,
        signed_up_at,
        updated_at,
        _load_sequence,
        _row_hash
    from landed
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
    from renamed
)

select * from final

with landed as (
    select * from {{ landed(source('crm', 'customers')) }}
),

renamed as (
    select
        customer_id as shop_customer_id,
        email as email_as_given,
        {{ sendable_email('email') }} as sendable_email,
        {{ normalised_email('email') }} as normalised_email,
        phone,
        {{ tidy_text('first_name') }} as first_name,
        {{ tidy_text('last_name') }} as last_name,
        upper({{ tidy_text('country_code') }}) as country_code,
        {{ tidy_text('time_zone') }} as time_zone,
        preferences,
        loyalty_tier,
        {{ tidy_text('birth_date') }} as birth_date_as_given,
        signed_up_at,
        updated_at,
        _load_sequence,
        _row_hash
    from landed
),

typed as (
    select
        *,
        {{ is_valid_email('normalised_email') }} as is_email_valid,
        {{ birth_date_or_null('birth_date_as_given', 'country_code') }} as birth_date
    from renamed
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
    from typed
)

select * from final

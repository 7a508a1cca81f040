with landed as (
    select * from {{ landed(source('complete_journey', 'demographics')) }}
),

renamed as (
    select
        cast(household_id as varchar) as household_id,
        {{ tidy_text('age') }} as age_band,
        {{ tidy_text('income') }} as income_band,
        {{ tidy_text('home_ownership') }} as home_ownership,
        {{ tidy_text('marital_status') }} as marital_status,
        {{ tidy_text('household_size') }} as household_size_band,
        {{ tidy_text('household_comp') }} as household_composition,
        {{ tidy_text('kids_count') }} as kids_count_band,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ timeless_disposition(
            key=['household_id'],
            quarantined={'missing_key': 'household_id is null'},
        ) }} as disposition
    from renamed
)

select * from final

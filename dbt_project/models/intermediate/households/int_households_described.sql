with baskets as (
    select * from {{ ref('int_baskets_summarised') }}
),

demographics as (
    select * from {{ used(ref('stg_complete_journey__demographics')) }}
),

bands as (
    select * from {{ ref('complete_journey_bands') }}
),

-- A household is known from its first basket on, whenever its demographics landed.
households as (
    select
        household_id,
        min(bought_at) as first_seen_at
    from baskets
    group by household_id
),

final as (
    select
        'complete_journey:' || households.household_id as source_customer_key,
        '{{ var("complete_journey_country") }}' as country_code,
        '{{ var("complete_journey_time_zone") }}' as time_zone,
        demographics.age_band,
        demographics.income_band,
        demographics.home_ownership,
        demographics.marital_status,
        demographics.household_size_band,
        demographics.household_composition,
        demographics.kids_count_band,
        ages.least as age_least,
        incomes.least as income_least,
        sizes.least as household_size_least,
        kids.least as kids_count_least,
        demographics.household_id is not null as has_demographics,
        households.first_seen_at
    from households
    left join demographics on households.household_id = demographics.household_id
    left join bands as ages on ages.attribute = 'age' and demographics.age_band = ages.band
    left join bands as incomes on incomes.attribute = 'income' and demographics.income_band = incomes.band
    left join bands as sizes
        on sizes.attribute = 'household_size' and demographics.household_size_band = sizes.band
    left join bands as kids on kids.attribute = 'kids_count' and demographics.kids_count_band = kids.band
)

select * from final

with landed as (
    select * from {{ landed(source('complete_journey', 'campaigns')) }}
),

renamed as (
    select
        cast(campaign_id as varchar) as journey_campaign_id,
        cast(household_id as varchar) as household_id,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ timeless_disposition(
            key=['journey_campaign_id', 'household_id'],
            quarantined={'missing_key': 'journey_campaign_id is null or household_id is null'},
        ) }} as disposition
    from renamed
)

select * from final

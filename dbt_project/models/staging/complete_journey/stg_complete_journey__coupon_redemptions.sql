with landed as (
    select * from {{ landed(source('complete_journey', 'coupon_redemptions')) }}
),

-- Of a redemption the day is known and not the hour: it counts as known once the store's day has ended.
renamed as (
    select
        file as file_name,
        cast(line_number as bigint) as line_number,
        cast(household_id as varchar) as household_id,
        cast(coupon_upc as varchar) as coupon_upc,
        cast(campaign_id as varchar) as journey_campaign_id,
        cast(redemption_date as date) as redemption_date,
        {{ local_to_utc("redemption_date + interval '1 day'", var('complete_journey_time_zone')) }}
            as day_ended_at,
        _load_sequence,
        _row_hash
    from landed
),

repeated as (
    select * from {{ repeated_lines(
        'renamed',
        content=['household_id', 'coupon_upc', 'journey_campaign_id', 'redemption_date'],
        alike=['household_id', 'coupon_upc'],
    ) }}
),

final as (
    select
        *,
        case
            when {{ is_after_as_of('day_ended_at') }} then 'after_as_of'
            when is_superseded then 'superseded'
            when is_copy then 'duplicate'
            when household_id is null or coupon_upc is null or journey_campaign_id is null
                then 'quarantined:missing_key'
            when redemption_date is null then 'quarantined:missing_time'
            else 'used'
        end as disposition
    from repeated
)

select * from final

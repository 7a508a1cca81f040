with landed as (
    select * from {{ landed(source('complete_journey', 'campaign_descriptions')) }}
),

-- A campaign begins with the first moment of its first day by the store's clock.
renamed as (
    select
        cast(campaign_id as varchar) as journey_campaign_id,
        {{ tidy_text('campaign_type') }} as campaign_type,
        cast(start_date as date) as start_date,
        cast(end_date as date) as end_date,
        {{ local_to_utc('start_date', var('complete_journey_time_zone')) }} as started_at,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ disposition(
            key=['journey_campaign_id'],
            event_time='started_at',
            quarantined={
                'missing_key': 'journey_campaign_id is null',
                'missing_time': 'start_date is null or end_date is null',
                'ends_before_it_starts': 'end_date < start_date',
            },
            repeated='superseded',
        ) }} as disposition
    from renamed
)

select * from final

with receipts as (
    select * from {{ used(ref('stg_complete_journey__campaigns')) }}
),

redemptions as (
    select * from {{ used(ref('stg_complete_journey__coupon_redemptions')) }}
),

campaigns as (
    select * from {{ ref('stg_complete_journey__campaign_descriptions') }}
    where disposition = 'used' or disposition = 'after_as_of'
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

-- A receipt counts once its campaign has begun: until then its household need not be known.
lost_receipts as (
    select
        'campaigns' as entity_name,
        campaigns.started_at as event_at,
        receipts._load_sequence,
        receipts._row_hash,
        receipts.journey_campaign_id || ':' || receipts.household_id as row_id,
        case when campaigns.journey_campaign_id is null then 'unknown_campaign' else 'unknown_customer' end
            as reason
    from receipts
    left join campaigns on receipts.journey_campaign_id = campaigns.journey_campaign_id
    left join identifiers on 'complete_journey:' || receipts.household_id = identifiers.source_customer_key
    where
        campaigns.journey_campaign_id is null
        or (campaigns.disposition = 'used' and identifiers.source_customer_key is null)
),

lost_redemptions as (
    select
        'coupon_redemptions' as entity_name,
        redemptions.day_ended_at as event_at,
        redemptions._load_sequence,
        redemptions._row_hash,
        redemptions.file_name || ':' || cast(redemptions.line_number as varchar) as row_id,
        'not_received' as reason
    from redemptions
    left join receipts
        on
            redemptions.journey_campaign_id = receipts.journey_campaign_id
            and redemptions.household_id = receipts.household_id
    where receipts.household_id is null
),

united as (
    select * from lost_receipts
    union all
    select * from lost_redemptions
),

final as (
    select
        'complete_journey' as source_name,
        entity_name,
        {{ row_key(['row_id']) }} as row_key,
        reason,
        event_at,
        _load_sequence
    from united
)

select * from final

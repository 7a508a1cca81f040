with receipts as (
    select * from {{ used(ref('stg_complete_journey__campaigns')) }}
),

campaigns as (
    select * from {{ used(ref('stg_complete_journey__campaign_descriptions')) }}
),

redemptions as (
    select * from {{ used(ref('stg_complete_journey__coupon_redemptions')) }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

redeemed as (
    select
        journey_campaign_id,
        household_id,
        count(*) as redemption_count,
        count(distinct coupon_upc) as redeemed_coupon_count,
        min(redemption_date) as first_redemption_date,
        max(redemption_date) as last_redemption_date
    from redemptions
    group by journey_campaign_id, household_id
),

-- The source tells no day of receipt: a household has a campaign from its first day on.
final as (
    select
        campaigns.journey_campaign_id,
        identifiers.customer_id,
        campaigns.campaign_type,
        campaigns.start_date,
        campaigns.end_date,
        redeemed.first_redemption_date,
        redeemed.last_redemption_date,
        campaigns.started_at as received_at,
        coalesce(redeemed.redemption_count, 0) as redemption_count,
        coalesce(redeemed.redeemed_coupon_count, 0) as redeemed_coupon_count,
        redeemed.household_id is not null as is_redeemed
    from receipts
    inner join campaigns on receipts.journey_campaign_id = campaigns.journey_campaign_id
    inner join identifiers on 'complete_journey:' || receipts.household_id = identifiers.source_customer_key
    left join redeemed
        on
            receipts.journey_campaign_id = redeemed.journey_campaign_id
            and receipts.household_id = redeemed.household_id
)

select * from final

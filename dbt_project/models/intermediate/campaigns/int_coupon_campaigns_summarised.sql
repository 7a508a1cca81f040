with campaigns as (
    select * from {{ used(ref('stg_complete_journey__campaign_descriptions')) }}
),

coupons as (
    select * from {{ used(ref('stg_complete_journey__coupons')) }}
),

receipts as (
    select * from {{ ref('int_campaign_receipts_answered') }}
),

offered as (
    select
        journey_campaign_id,
        count(distinct coupon_upc) as coupon_count,
        count(distinct journey_product_id) as product_count
    from coupons
    group by journey_campaign_id
),

answered as (
    select
        journey_campaign_id,
        count(*) as recipient_count,
        sum(case when is_redeemed then 1 else 0 end) as redeemer_count,
        sum(redemption_count) as redemption_count
    from receipts
    group by journey_campaign_id
),

final as (
    select
        campaigns.journey_campaign_id,
        campaigns.campaign_type,
        campaigns.start_date,
        campaigns.end_date,
        campaigns.started_at,
        coalesce(offered.coupon_count, 0) as coupon_count,
        coalesce(offered.product_count, 0) as product_count,
        coalesce(answered.recipient_count, 0) as recipient_count,
        coalesce(answered.redeemer_count, 0) as redeemer_count,
        coalesce(answered.redemption_count, 0) as redemption_count
    from campaigns
    left join offered on campaigns.journey_campaign_id = offered.journey_campaign_id
    left join answered on campaigns.journey_campaign_id = answered.journey_campaign_id
)

select * from final

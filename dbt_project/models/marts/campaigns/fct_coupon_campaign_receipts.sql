with receipts as (
    select
        *,
        'complete_journey:' || journey_campaign_id as coupon_campaign_id
    from {{ ref('int_campaign_receipts_answered') }}
),

final as (
    select
        coupon_campaign_id,
        customer_id,
        cast(redemption_count as bigint) as redemption_count,
        cast(redeemed_coupon_count as bigint) as redeemed_coupon_count,
        is_redeemed,
        first_redemption_date,
        last_redemption_date,
        received_at
    from receipts
)

select * from final

with campaigns as (
    select * from {{ ref('int_coupon_campaigns_summarised') }}
),

final as (
    select
        'complete_journey:' || journey_campaign_id as coupon_campaign_id,
        'complete_journey' as source_system,
        campaign_type,
        cast(coupon_count as bigint) as coupon_count,
        cast(product_count as bigint) as product_count,
        cast(recipient_count as bigint) as recipient_count,
        cast(redeemer_count as bigint) as redeemer_count,
        cast(redemption_count as bigint) as redemption_count,
        cast(redeemer_count as {{ double() }}) / nullif(recipient_count, 0) as response_rate,
        start_date,
        end_date,
        {{ as_of() }} as as_of
    from campaigns
)

select * from final

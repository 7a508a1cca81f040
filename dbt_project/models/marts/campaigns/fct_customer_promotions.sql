with promotions as (
    select
        *,
        loyalty_discount_amount + coupon_discount_amount + coupon_match_discount_amount as discount_amount
    from {{ ref('int_customer_promotions_summarised') }}
),

final as (
    select
        customer_id,
        cast(basket_count as bigint) as basket_count,
        cast(coupon_basket_count as bigint) as coupon_basket_count,
        cast(campaigns_received_count as bigint) as campaigns_received_count,
        cast(campaigns_redeemed_count as bigint) as campaigns_redeemed_count,
        cast(redemption_count as bigint) as redemption_count,
        {{ rounded_money('shelf_amount') }} as shelf_amount,
        {{ rounded_money('loyalty_discount_amount') }} as loyalty_discount_amount,
        {{ rounded_money('coupon_discount_amount') }} as coupon_discount_amount,
        {{ rounded_money('coupon_match_discount_amount') }} as coupon_match_discount_amount,
        cast(campaigns_redeemed_count as {{ double() }})
        / nullif(campaigns_received_count, 0) as response_rate,
        cast(discount_amount as {{ double() }})
        / nullif(cast(shelf_amount as {{ double() }}), 0) as discount_share,
        last_redemption_date,
        last_campaign_received_at,
        {{ as_of() }} as as_of
    from promotions
)

select * from final

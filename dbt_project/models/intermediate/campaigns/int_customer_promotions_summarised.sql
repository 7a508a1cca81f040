with baskets as (
    select * from {{ ref('int_baskets_summarised') }}
),

receipts as (
    select * from {{ ref('int_campaign_receipts_answered') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

discounted as (
    select
        identifiers.customer_id,
        count(*) as basket_count,
        sum(case when baskets.coupon_discount_amount > 0 then 1 else 0 end) as coupon_basket_count,
        sum({{ pounds('baskets.shelf_amount', 'baskets.units_per_pound', digits=4) }}) as shelf_amount,
        sum({{ pounds('baskets.loyalty_discount_amount', 'baskets.units_per_pound', digits=4) }})
            as loyalty_discount_amount,
        sum({{ pounds('baskets.coupon_discount_amount', 'baskets.units_per_pound', digits=4) }})
            as coupon_discount_amount,
        sum({{ pounds('baskets.coupon_match_discount_amount', 'baskets.units_per_pound', digits=4) }})
            as coupon_match_discount_amount
    from baskets
    inner join identifiers on 'complete_journey:' || baskets.household_id = identifiers.source_customer_key
    group by identifiers.customer_id
),

answered as (
    select
        customer_id,
        count(*) as campaigns_received_count,
        sum(case when is_redeemed then 1 else 0 end) as campaigns_redeemed_count,
        sum(redemption_count) as redemption_count,
        max(received_at) as last_campaign_received_at,
        max(last_redemption_date) as last_redemption_date
    from receipts
    group by customer_id
),

final as (
    select
        discounted.customer_id,
        discounted.basket_count,
        discounted.coupon_basket_count,
        discounted.shelf_amount,
        discounted.loyalty_discount_amount,
        discounted.coupon_discount_amount,
        discounted.coupon_match_discount_amount,
        answered.last_redemption_date,
        answered.last_campaign_received_at,
        coalesce(answered.campaigns_received_count, 0) as campaigns_received_count,
        coalesce(answered.campaigns_redeemed_count, 0) as campaigns_redeemed_count,
        coalesce(answered.redemption_count, 0) as redemption_count
    from discounted
    left join answered on discounted.customer_id = answered.customer_id
)

select * from final

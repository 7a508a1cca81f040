with lines as (
    select * from {{ ref('int_basket_lines_measured') }}
),

-- A basket has one household and one moment; its rate is the one of that day.
summed as (
    select
        basket_id,
        min(household_id) as household_id,
        min(currency) as currency,
        min(units_per_pound) as units_per_pound,
        sum(case when is_item then 1 else 0 end) as line_count,
        sum(quantity) as item_count,
        sum(sales_amount) as sales_amount,
        sum(shelf_amount) as shelf_amount,
        sum(loyalty_discount_amount) as loyalty_discount_amount,
        sum(coupon_discount_amount) as coupon_discount_amount,
        sum(coupon_match_discount_amount) as coupon_match_discount_amount,
        min(bought_at) as bought_at,
        max(_load_sequence) as _load_sequence
    from lines
    group by basket_id
),

final as (
    select
        basket_id,
        household_id,
        currency,
        units_per_pound,
        line_count,
        item_count,
        sales_amount,
        shelf_amount,
        loyalty_discount_amount,
        coupon_discount_amount,
        coupon_match_discount_amount,
        {{ pounds('sales_amount', 'units_per_pound') }} as gross_amount,
        bought_at,
        _load_sequence
    from summed
)

select * from final

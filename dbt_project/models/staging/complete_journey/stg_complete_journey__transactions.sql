with landed as (
    select * from {{ landed(source('complete_journey', 'transactions')) }}
),

rates as (
    select
        units_per_pound,
        valid_from,
        lead(valid_from) over (order by valid_from) as next_valid_from
    from {{ ref('exchange_rates') }}
    where currency = '{{ var("complete_journey_currency") }}'
),

renamed as (
    select
        file as file_name,
        cast(line_number as bigint) as line_number,
        cast(household_id as varchar) as household_id,
        cast(store_id as varchar) as store_id,
        cast(basket_id as varchar) as basket_id,
        cast(product_id as varchar) as journey_product_id,
        cast(quantity as bigint) as quantity,
        {{ money('sales_value') }} as sales_amount,
        {{ money('coalesce(retail_disc, 0)') }} as loyalty_discount_amount,
        {{ money('coalesce(coupon_disc, 0)') }} as coupon_discount_amount,
        {{ money('coalesce(coupon_match_disc, 0)') }} as coupon_match_discount_amount,
        {{ local_to_utc('transaction_timestamp', 'UTC') }} as bought_at,
        _load_sequence,
        _row_hash
    from landed
),

repeated as (
    select * from {{ repeated_lines(
        'renamed',
        content=[
            'basket_id', 'journey_product_id', 'household_id', 'store_id', 'bought_at', 'quantity', 'sales_amount',
            'loyalty_discount_amount', 'coupon_discount_amount', 'coupon_match_discount_amount'
        ],
        alike=['basket_id', 'journey_product_id'],
    ) }}
),

rated as (
    select
        repeated.*,
        rates.units_per_pound,
        repeated.loyalty_discount_amount
        + repeated.coupon_discount_amount
        + repeated.coupon_match_discount_amount as discount_amount
    from repeated
    left join rates
        on
            {{ utc_date('repeated.bought_at') }} >= rates.valid_from
            and coalesce({{ utc_date('repeated.bought_at') }} < rates.next_valid_from, true)
),

final as (
    select
        file_name,
        line_number,
        household_id,
        store_id,
        basket_id,
        journey_product_id,
        '{{ var("complete_journey_currency") }}' as currency,
        quantity,
        sales_amount,
        loyalty_discount_amount,
        coupon_discount_amount,
        coupon_match_discount_amount,
        units_per_pound,
        is_superseded,
        is_copy,
        bought_at,
        _load_sequence,
        _row_hash,
        case
            when {{ is_after_as_of('bought_at') }} then 'after_as_of'
            when is_superseded then 'superseded'
            when is_copy then 'duplicate'
            when household_id is null or basket_id is null or journey_product_id is null
                then 'quarantined:missing_key'
            when bought_at is null then 'quarantined:missing_time'
            when quantity is null or sales_amount is null then 'quarantined:missing_amount'
            when quantity < 0 or sales_amount < 0 then 'quarantined:negative_amount'
            when units_per_pound is null then 'quarantined:unknown_currency'
            when quantity = 0 and sales_amount = 0 and discount_amount = 0 then 'quarantined:nothing_sold'
            when quantity = 0 and sales_amount = 0 then 'used:coupon'
            when quantity = 0 then 'used:no_quantity'
            when sales_amount = 0 then 'used:free'
            else 'used'
        end as disposition
    from rated
)

select * from final

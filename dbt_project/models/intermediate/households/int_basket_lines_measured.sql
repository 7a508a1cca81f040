with transactions as (
    select * from {{ used(ref('stg_complete_journey__transactions')) }}
),

products as (
    select * from {{ used(ref('stg_complete_journey__products')) }}
),

types as (
    select * from {{ ref('complete_journey_product_types') }}
),

measured as (
    select
        products.journey_product_id,
        types.measured_unit,
        types.units_per_quantity
    from products
    inner join types on products.product_type = types.product_type
    where types.measured_unit is not null
),

-- What is measured is one piece, however much it is: 11,000 thousandths of a gallon are not 11,000 products.
final as (
    select
        'complete_journey:' || transactions.file_name || ':' || cast(transactions.line_number as varchar)
            as basket_line_id,
        transactions.basket_id,
        transactions.household_id,
        transactions.journey_product_id,
        transactions.currency,
        case
            when transactions.quantity >= {{ var('complete_journey_least_measured_quantity') }}
                then measured.measured_unit
        end as measured_unit,
        transactions.sales_amount,
        transactions.loyalty_discount_amount,
        transactions.coupon_discount_amount,
        transactions.coupon_match_discount_amount,
        transactions.units_per_pound,
        transactions.sales_amount
        + transactions.loyalty_discount_amount
        + transactions.coupon_match_discount_amount as shelf_amount,
        case
            when measured.journey_product_id is null then transactions.quantity
            else least(transactions.quantity, 1)
        end as quantity,
        case
            when transactions.quantity >= {{ var('complete_journey_least_measured_quantity') }}
                then cast(transactions.quantity as decimal(18, 6)) * measured.units_per_quantity
        end as measured_quantity,
        transactions.disposition <> 'used:coupon' as is_item,
        measured.journey_product_id is not null
        and transactions.quantity < {{ var('complete_journey_least_measured_quantity') }}
            as is_sold_by_amount,
        transactions.bought_at,
        transactions._load_sequence
    from transactions
    left join measured on transactions.journey_product_id = measured.journey_product_id
)

select * from final

with lines as (
    select * from {{ ref('int_basket_lines_measured') }}
),

products as (
    select * from {{ used(ref('stg_complete_journey__products')) }}
),

types as (
    select * from {{ ref('complete_journey_product_types') }}
),

counted as (
    select * from lines
    where is_item and not is_sold_by_amount and quantity > 0
),

latest as (
    select
        journey_product_id,
        max(bought_at) as bought_at
    from counted
    group by journey_product_id
),

-- What stands on the shelf is for one piece, or one unit of what is measured.
priced as (
    select
        counted.journey_product_id,
        row_number() over (
            partition by counted.journey_product_id
            order by counted.basket_line_id
        ) as price_rank,
        {{ pounds(
            'cast(counted.shelf_amount as ' ~ double() ~ ')'
            ~ ' / cast(coalesce(counted.measured_quantity, counted.quantity) as ' ~ double() ~ ')',
            'counted.units_per_pound'
        ) }} as price
    from counted
    inner join latest
        on
            counted.journey_product_id = latest.journey_product_id
            and counted.bought_at = latest.bought_at
),

sold as (
    select distinct journey_product_id
    from lines
    where is_item
),

-- Some products are sold without being in the list of products: all that is known of them is that.
known as (
    select
        products.department,
        products.product_category,
        products.product_type,
        products.package_size,
        coalesce(products.journey_product_id, sold.journey_product_id) as journey_product_id,
        products.journey_product_id is not null as is_listed
    from products
    full outer join sold on products.journey_product_id = sold.journey_product_id
),

final as (
    select
        known.journey_product_id,
        known.department,
        known.product_type,
        known.package_size,
        priced.price,
        known.is_listed,
        coalesce(types.category, known.product_category) as product_category,
        coalesce(types.kind, 'product') as product_kind
    from known
    left join types on known.product_type = types.product_type
    left join priced on known.journey_product_id = priced.journey_product_id and priced.price_rank = 1
)

select * from final

with shop_orders as (
    select * from {{ ref('int_shop_orders_summarised') }}
),

invoices as (
    select * from {{ ref('int_invoices_summarised') }}
),

baskets as (
    select * from {{ ref('int_baskets_summarised') }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

emails as (
    select * from {{ ref('int_emails_resolved') }}
),

placed_in_shop as (
    select
        'shop:' || shop_orders.shop_order_id as order_id,
        'shop' as source_system,
        coalesce(identifiers.customer_id, emails.customer_id) as customer_id,
        shop_orders.order_status,
        shop_orders.currency,
        shop_orders.units_per_pound,
        shop_orders.line_count,
        shop_orders.item_count,
        shop_orders.gross_amount,
        shop_orders.refunded_amount,
        shop_orders.is_cancelled,
        shop_orders.is_refund_capped,
        shop_orders.ordered_at,
        shop_orders._load_sequence
    from shop_orders
    left join identifiers on 'shop:' || shop_orders.shop_customer_id = identifiers.source_customer_key
    left join emails
        on
            shop_orders.shop_customer_id is null
            and shop_orders.is_email_valid
            and shop_orders.normalised_email = emails.normalised_email
),

invoiced as (
    select
        'online_retail:' || invoices.invoice_number as order_id,
        'online_retail' as source_system,
        identifiers.customer_id,
        case
            when invoices.is_cancelled then 'cancelled'
            when invoices.refunded_amount >= invoices.gross_amount then 'refunded'
            when invoices.refunded_amount > 0 then 'partially_refunded'
            else 'completed'
        end as order_status,
        'GBP' as currency,
        1 as units_per_pound,
        invoices.line_count,
        invoices.item_count,
        invoices.gross_amount,
        invoices.refunded_amount,
        invoices.is_cancelled,
        false as is_refund_capped,
        invoices.ordered_at,
        invoices._load_sequence
    from invoices
    left join identifiers on 'online_retail:' || invoices.retail_customer_id = identifiers.source_customer_key
),

checked_out as (
    select
        'complete_journey:' || baskets.basket_id as order_id,
        'complete_journey' as source_system,
        identifiers.customer_id,
        'completed' as order_status,
        baskets.currency,
        baskets.units_per_pound,
        baskets.line_count,
        baskets.item_count,
        baskets.gross_amount,
        0 as refunded_amount,
        false as is_cancelled,
        false as is_refund_capped,
        baskets.bought_at as ordered_at,
        baskets._load_sequence
    from baskets
    left join identifiers on 'complete_journey:' || baskets.household_id = identifiers.source_customer_key
    where baskets.line_count > 0
),

united as (
    select * from placed_in_shop
    union all
    select * from invoiced
    union all
    select * from checked_out
),

netted as (
    select
        *,
        gross_amount - refunded_amount as net_amount
    from united
),

final as (
    select
        *,
        customer_id is null as is_guest,
        net_amount > 0 and not is_cancelled as is_purchase
    from netted
)

select * from final

{%- set judged = [
    ('catalogue', 'products', ref('stg_catalogue__products')),
    ('crm', 'consents', 'judged_consents'),
    ('crm', 'customers', ref('stg_crm__customers')),
    ('email', 'events', ref('stg_email__events')),
    ('local_esp', 'events', ref('stg_local_esp__events')),
    ('online_retail', 'invoice_lines', ref('stg_online_retail__invoice_lines')),
    ('shop', 'order_lines', 'judged_lines'),
    ('shop', 'orders', 'judged_orders'),
    ('shop', 'refunds', 'judged_refunds'),
    ('web', 'events', 'judged_events'),
] %}

with orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

-- What belongs to an order that does not count goes with it, for the order's own reason.
refused_orders as (
    select
        shop_order_id,
        min(disposition) as disposition
    from {{ ref('stg_shop__orders') }}
    where disposition like 'quarantined:%' and shop_order_id is not null
    group by shop_order_id
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

judged_consents as (
    select
        case
            when consents.disposition = 'used' and identifiers.source_customer_key is null
                then 'quarantined:unknown_customer'
            else consents.disposition
        end as disposition
    from {{ ref('stg_crm__consents') }} as consents
    left join identifiers on 'shop:' || consents.shop_customer_id = identifiers.source_customer_key
),

judged_orders as (
    select
        case when disposition = 'used' and shop_customer_id is null then 'used:guest' else disposition end
            as disposition
    from {{ ref('stg_shop__orders') }}
),

judged_lines as (
    select
        case
            when order_lines.disposition = 'used' and orders.shop_order_id is null
                then coalesce(refused_orders.disposition, 'quarantined:unknown_order')
            else order_lines.disposition
        end as disposition
    from {{ ref('stg_shop__order_lines') }} as order_lines
    left join orders on order_lines.shop_order_id = orders.shop_order_id
    left join refused_orders on order_lines.shop_order_id = refused_orders.shop_order_id
),

judged_refunds as (
    select
        case
            when refunds.disposition = 'used' and orders.shop_order_id is null
                then coalesce(refused_orders.disposition, 'quarantined:unknown_order')
            else refunds.disposition
        end as disposition
    from {{ ref('stg_shop__refunds') }} as refunds
    left join orders on refunds.shop_order_id = orders.shop_order_id
    left join refused_orders on refunds.shop_order_id = refused_orders.shop_order_id
),

judged_events as (
    select
        case
            when events.disposition = 'used' and agents.is_bot then 'quarantined:bot'
            else events.disposition
        end as disposition
    from {{ ref('stg_web__events') }} as events
    left join agents on events.user_agent = agents.user_agent
),

united as (
    {% for source_name, entity_name, relation in judged -%}
        select
            '{{ source_name }}' as source_name,
            '{{ entity_name }}' as entity_name,
            disposition
        from {{ relation }}
        {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

final as (
    select
        source_name,
        entity_name,
        disposition,
        count(*) as row_count
    from united
    group by source_name, entity_name, disposition
)

select * from final

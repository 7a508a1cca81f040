{%- set entities = [
    ('catalogue', 'products', ref('stg_catalogue__products')),
    ('crm', 'customers', ref('stg_crm__customers')),
    ('email', 'events', ref('stg_email__events')),
    ('local_esp', 'events', ref('stg_local_esp__events')),
    ('online_retail', 'invoice_lines', ref('stg_online_retail__invoice_lines')),
] %}

with orders as (
    select * from {{ used(ref('stg_shop__orders')) }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

agents as (
    select * from {{ ref('int_user_agents_classified') }}
),

consents as (
    select
        consents.*,
        case
            when consents.disposition = 'used' and identifiers.source_customer_key is null
                then 'quarantined:unknown_customer'
            else consents.disposition
        end as final_disposition
    from {{ ref('stg_crm__consents') }} as consents
    left join identifiers on 'shop:' || consents.shop_customer_id = identifiers.source_customer_key
),

judged_orders as (
    select
        *,
        case when disposition = 'used' and shop_customer_id is null then 'used:guest' else disposition end
            as final_disposition
    from {{ ref('stg_shop__orders') }}
),

order_lines as (
    select
        lines.*,
        case
            when lines.disposition = 'used' and orders.shop_order_id is null then 'quarantined:unknown_order'
            else lines.disposition
        end as final_disposition
    from {{ ref('stg_shop__order_lines') }} as lines
    left join orders on lines.shop_order_id = orders.shop_order_id
),

refunds as (
    select
        refunds.*,
        case
            when refunds.disposition = 'used' and orders.shop_order_id is null then 'quarantined:unknown_order'
            else refunds.disposition
        end as final_disposition
    from {{ ref('stg_shop__refunds') }} as refunds
    left join orders on refunds.shop_order_id = orders.shop_order_id
),

web_events as (
    select
        events.*,
        case
            when events.disposition = 'used' and agents.is_bot then 'quarantined:bot'
            else events.disposition
        end as final_disposition
    from {{ ref('stg_web__events') }} as events
    left join agents on events.user_agent = agents.user_agent
),

united as (
    {% for source_name, entity_name, relation in entities %}
    select
        '{{ source_name }}' as source_name,
        '{{ entity_name }}' as entity_name,
        disposition
    from {{ relation }}
    union all
    {% endfor %}
    {% for source_name, entity_name, judged in [
        ('crm', 'consents', 'consents'),
        ('shop', 'orders', 'judged_orders'),
        ('shop', 'order_lines', 'order_lines'),
        ('shop', 'refunds', 'refunds'),
        ('web', 'events', 'web_events'),
    ] %}
    select
        '{{ source_name }}' as source_name,
        '{{ entity_name }}' as entity_name,
        final_disposition as disposition
    from {{ judged }}
    {{ "union all" if not loop.last }}
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

{{ config(materialized='incremental', incremental_strategy='append') }}

with final as (
    select * from {{ later_copies(
        source('web', 'events'),
        key='message_id',
        instant={'device_at': 'timestamp'},
        content={
            'anonymous_id': 'anonymous_id',
            'shop_customer_id': 'user_id',
            'event_name': web_event_name(),
            'page_path': json_text(parsed_json('properties'), 'path'),
            'shop_product_id': json_text(parsed_json('properties'), 'product_id'),
            'shop_order_id': json_text(parsed_json('properties'), 'order_id'),
            'price': number_or_null(json_text(parsed_json('properties'), 'price')),
            'quantity': number_or_null(json_text(parsed_json('properties'), 'quantity')),
        },
        quarantined=web_events_quarantined(),
        keeps_rows=false,
    ) }}
)

select * from final

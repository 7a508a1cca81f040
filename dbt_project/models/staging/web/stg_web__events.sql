with landed as (
    select * from {{ landed(source('web', 'events')) }}
),

parsed as (
    select
        *,
        {{ parsed_json('properties') }} as event_properties,
        {{ parsed_json('context') }} as event_context
    from landed
),

renamed as (
    select
        message_id,
        type as event_type,
        anonymous_id,
        user_id as shop_customer_id,
        case when type = 'page' then 'Page Viewed' when type = 'identify' then 'Identified' else event end
            as event_name,
        {{ json_text('event_properties', 'product_id') }} as shop_product_id,
        {{ json_text('event_properties', 'order_id') }} as shop_order_id,
        {{ json_text('event_properties', 'category') }} as category,
        {{ json_text('event_context', 'page.path') }} as page_path,
        {{ json_text('event_context', 'page.referrer') }} as referrer,
        {{ json_text('event_context', 'userAgent') }} as user_agent,
        {{ json_text('event_context', 'locale') }} as locale,
        {{ json_text('event_context', 'timezone') }} as time_zone,
        {{ json_text('event_context', 'campaign.source') }} as campaign_source,
        {{ json_text('event_context', 'campaign.medium') }} as campaign_medium,
        {{ json_text('event_context', 'campaign.name') }} as campaign_name,
        {{ number_or_null(json_text('event_properties', 'price')) }} as price,
        {{ number_or_null(json_text('event_properties', 'quantity')) }} as quantity,
        timestamp as occurred_at,
        received_at,
        _load_sequence,
        _row_hash
    from parsed
),

final as (
    select
        *,
        {{ disposition(
            key=['message_id'],
            event_time='occurred_at',
            quarantined={
                'missing_key': 'message_id is null',
                'missing_time': 'occurred_at is null',
                'missing_visitor': 'anonymous_id is null and shop_customer_id is null',
                'missing_event': 'event_name is null',
            },
            repeated='duplicate',
        ) }} as disposition
    from renamed
)

select * from final

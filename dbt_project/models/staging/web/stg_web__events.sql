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
        coalesce(
            {{ seconds_between('received_at', 'timestamp') }} > {{ var('clock_ahead_minutes') }} * 60
            or {{ seconds_between('timestamp', 'received_at') }} > {{ var('clock_behind_days') }} * 86400,
            false
        ) as is_clock_corrected,
        properties,
        timestamp as device_at,
        received_at,
        _load_sequence,
        _row_hash
    from parsed
),

-- A device whose clock cannot be right is not asked for the time.
timed as (
    select
        *,
        case when is_clock_corrected then received_at else device_at end as occurred_at
    from renamed
),

judged as (
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
        ) }} as own_disposition
    from timed
),

copies as (
    select * from {{ later_copies(
        'judged',
        key='message_id',
        instant='device_at',
        content=[
            'anonymous_id', 'shop_customer_id', 'event_name', 'page_path', 'properties', 'device_at',
        ],
    ) }}
),

final as (
    select
        judged.message_id,
        judged.event_type,
        judged.anonymous_id,
        judged.shop_customer_id,
        judged.event_name,
        judged.shop_product_id,
        judged.shop_order_id,
        judged.category,
        judged.page_path,
        judged.referrer,
        judged.user_agent,
        judged.locale,
        judged.time_zone,
        judged.campaign_source,
        judged.campaign_medium,
        judged.campaign_name,
        judged.price,
        judged.quantity,
        judged.is_clock_corrected,
        judged.device_at,
        judged.occurred_at,
        judged.received_at,
        judged._load_sequence,
        judged._row_hash,
        case
            when judged.own_disposition = 'used' and copies.message_id is not null then 'duplicate'
            else judged.own_disposition
        end as disposition
    from judged
    left join copies on judged.message_id = copies.message_id
)

select * from final

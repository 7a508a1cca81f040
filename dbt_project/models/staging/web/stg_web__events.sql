{#
    A view: millions of wide rows are read once, for the spans that visits, sign-ins and programs follow from, so that
    to write them down would cost more than to read the files again. Each build makes it anew, over the files of its
    index; where a reader asks for newer loads only their files are opened.
#}
{{ config(materialized='view') }}

{%- set properties = ['path', 'product_id', 'order_id', 'price', 'quantity'] %}
{%- set context = ['userAgent', 'timezone', 'campaign'] %}
{%- set campaign = ['source', 'medium', 'name'] %}

with landed as (
    select * from {{ landed(source('web', 'events')) }}
),

copies as (
    select * from {{ ref('base_web__event_copies') }}
),

parsed as (
    select
        landed.*,
        {{ json_texts('landed.properties', properties) }} as property_texts,
        {{ json_texts('landed.context', context) }} as context_texts,
        copies._row_number is not null as is_repeated
    from landed
    left join copies
        on landed._load_sequence = copies._load_sequence and landed._row_number = copies._row_number
),

-- Few events have a campaign, so that its parts are read of those alone.
with_campaign as (
    select
        parsed.*,
        {{ json_texts(item('context_texts', 3), campaign) }} as campaign_texts,
        {{ quarantine_reason(web_events_quarantined()) }} as quarantine_reason
    from parsed
),

renamed as (
    select
        message_id,
        type as event_type,
        anonymous_id,
        user_id as shop_customer_id,
        {{ web_event_name() }} as event_name,
        {{ item('property_texts', 1) }} as page_path,
        {{ item('property_texts', 2) }} as shop_product_id,
        {{ item('property_texts', 3) }} as shop_order_id,
        {{ item('context_texts', 1) }} as user_agent,
        {{ item('context_texts', 2) }} as time_zone,
        {{ item('campaign_texts', 1) }} as campaign_source,
        {{ item('campaign_texts', 2) }} as campaign_medium,
        {{ item('campaign_texts', 3) }} as campaign_name,
        {{ number_or_null(item('property_texts', 4)) }} as price,
        {{ number_or_null(item('property_texts', 5)) }} as quantity,
        coalesce(
            {{ seconds_between('received_at', 'timestamp') }} > {{ var('clock_ahead_minutes') }} * 60
            or {{ seconds_between('timestamp', 'received_at') }} > {{ var('clock_behind_days') }} * 86400,
            false
        ) as is_clock_corrected,
        timestamp as device_at,
        received_at,
        _load_sequence,
        case when quarantine_reason is not null then _row_hash end as _row_hash,
        case
            when quarantine_reason is not null then quarantine_reason
            when is_repeated then 'duplicate'
            else 'used'
        end as disposition
    from with_campaign
),

-- A device whose clock cannot be right is not asked for the time.
final as (
    select
        message_id,
        event_type,
        anonymous_id,
        shop_customer_id,
        event_name,
        page_path,
        shop_product_id,
        shop_order_id,
        user_agent,
        time_zone,
        campaign_source,
        campaign_medium,
        campaign_name,
        price,
        quantity,
        is_clock_corrected,
        device_at,
        received_at,
        _load_sequence,
        _row_hash,
        disposition,
        case when is_clock_corrected then received_at else device_at end as occurred_at
    from renamed
)

select * from final

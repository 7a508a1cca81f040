with landed as (
    select * from {{ landed(source('email', 'events')) }}
),

renamed as (
    select
        event_id,
        message_id,
        campaign_id,
        campaign_name,
        subject,
        customer_id as shop_customer_id,
        {{ normalised_email('email') }} as normalised_email,
        event_type,
        bounce_type,
        url,
        coalesce(is_machine_open, false) as is_machine_open,
        occurred_at,
        received_at,
        _load_sequence,
        _row_hash
    from landed
),

judged as (
    select
        *,
        {{ disposition(
            key=['event_id'],
            event_time='occurred_at',
            quarantined={
                'missing_key': 'event_id is null or message_id is null',
                'missing_time': 'occurred_at is null',
                'unknown_type': 'event_type is null or event_type not in (' ~ quoted(var('email_event_types')) ~ ')',
            },
            repeated='duplicate',
        ) }} as own_disposition
    from renamed
),

copies as (
    select * from {{ later_copies(
        'judged',
        key='event_id',
        instant='occurred_at',
        content=[
            'message_id', 'shop_customer_id', 'normalised_email', 'event_type', 'bounce_type', 'url',
            'is_machine_open', 'occurred_at',
        ],
    ) }}
),

final as (
    select
        judged.event_id,
        judged.message_id,
        judged.campaign_id,
        judged.campaign_name,
        judged.subject,
        judged.shop_customer_id,
        judged.normalised_email,
        judged.event_type,
        judged.bounce_type,
        judged.url,
        judged.is_machine_open,
        judged.occurred_at,
        judged.received_at,
        judged._load_sequence,
        judged._row_hash,
        case
            when judged.own_disposition = 'used' and copies.event_id is not null then 'duplicate'
            else judged.own_disposition
        end as disposition
    from judged
    left join copies on judged.event_id = copies.event_id
)

select * from final

with landed as (
    select * from {{ landed(source('local_esp', 'events')) }}
),

renamed as (
    select
        event_id,
        message_id,
        campaign_id,
        campaign_name,
        customer_id,
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

final as (
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
        ) }} as disposition
    from renamed
)

select * from final

with landed as (
    select * from {{ landed(source('crm', 'consents')) }}
),

renamed as (
    select
        consent_id,
        customer_id as shop_customer_id,
        channel,
        status as consent_status,
        source as consent_source,
        wording_version,
        proof as consent_proof,
        recorded_at,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ disposition(
            key=['consent_id'],
            event_time='recorded_at',
            quarantined={
                'missing_key': 'consent_id is null or shop_customer_id is null',
                'missing_time': 'recorded_at is null',
                'unknown_status': "consent_status is null or consent_status not in ('granted', 'withdrawn')",
            },
            repeated='duplicate',
        ) }} as disposition
    from renamed
)

select * from final

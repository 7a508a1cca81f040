with landed as (
    select * from {{ landed(source('crm', 'consents')) }}
),

renamed as (
    select
        consent_id,
        customer_id as shop_customer_id,
        source as consent_source,
        wording_version,
        recorded_at,
        _load_sequence,
        _row_hash,
        lower(trim(channel)) as channel,
        case
            when lower(trim(status)) in ({{ quoted(var('requested_statuses')) }}) then 'requested'
            else lower(trim(status))
        end as consent_status,
        nullif(trim(proof), '') as consent_proof
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
                'missing_channel': "coalesce(channel, '') = ''",
                'unknown_status': "coalesce(consent_status, '') not in ('granted', 'withdrawn', 'requested')",
            },
            repeated='duplicate',
        ) }} as disposition
    from renamed
)

select * from final

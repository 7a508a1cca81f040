with consents as (
    select * from {{ used(ref('stg_crm__consents')) }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

final as (
    select
        identifiers.customer_id,
        max(consents.recorded_at) as last_opted_in_at
    from consents
    inner join identifiers on 'shop:' || consents.shop_customer_id = identifiers.source_customer_key
    where
        consents.channel = 'email'
        and consents.consent_status = 'granted'
        and consents.consent_source in ({{ quoted(var('opt_in_sources')) }})
    group by identifiers.customer_id
)

select * from final

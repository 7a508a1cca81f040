{#- The records of the account up to an instant, with all of the instant itself. -#}
{%- set frame -%}
    over (
        partition by source_customer_key, channel
        order by recorded_at
        range between unbounded preceding and current row
    )
{%- endset -%}

with consents as (
    select * from {{ used(ref('stg_crm__consents')) }}
),

identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

accounts as (
    select * from {{ used(ref('stg_crm__customers')) }}
),

placed as (
    select
        consents.consent_id,
        consents.channel,
        consents.consent_status,
        consents.consent_source,
        consents.wording_version,
        consents.consent_proof,
        consents.recorded_at,
        identifiers.customer_id,
        'shop:' || consents.shop_customer_id as source_customer_key,
        {{ needs_double_opt_in('consents.channel', 'accounts.country_code') }} as needs_request
    from consents
    left join identifiers on 'shop:' || consents.shop_customer_id = identifiers.source_customer_key
    left join accounts on consents.shop_customer_id = accounts.shop_customer_id
),

looked_back as (
    select
        *,
        max(case when consent_status = 'requested' then recorded_at end) {{ frame }} as last_requested_at,
        max(case when consent_status = 'withdrawn' then recorded_at end) {{ frame }} as last_withdrawn_at
    from placed
),

-- Of simultaneous records the most restrictive counts: a withdrawal, then a request, then an opt-in.
checked as (
    select
        *,
        case
            when consent_status = 'withdrawn' then null
            when recorded_at = last_withdrawn_at then 'outweighed'
            when consent_status = 'requested' then null
            when recorded_at = last_requested_at then 'outweighed'
            when consent_proof is null then 'unproven'
            when needs_request and last_requested_at is null then 'unconfirmed'
            when needs_request and last_requested_at <= last_withdrawn_at then 'unconfirmed'
        end as flaw
    from looked_back
),

accepted as (
    select
        *,
        case when consent_status = 'granted' and flaw is null then recorded_at end as accepted_at,
        coalesce(consent_source in ({{ quoted(var('opt_in_sources')) }}), false) as is_own_act
    from checked
),

compared as (
    select
        *,
        max(case when is_own_act then accepted_at end) {{ frame }} as last_opted_in_at,
        max(accepted_at) {{ frame }} as last_accepted_at,
        max(case when is_own_act or last_withdrawn_at is null then accepted_at end) over (
            partition by source_customer_key, channel
        ) as last_confirmed_at
    from accepted
),

-- After a withdrawal only the person's own act grants again, not an import that says so.
final as (
    select
        consent_id,
        customer_id,
        source_customer_key,
        channel,
        consent_status,
        consent_source,
        wording_version,
        consent_proof,
        recorded_at,
        case
            when flaw is not null then flaw
            when customer_id is null then 'unknown_customer'
            when consent_status = 'requested' and recorded_at < last_confirmed_at then null
            when consent_status = 'requested' then 'unconfirmed'
            when consent_status = 'withdrawn' or is_own_act or last_withdrawn_at is null then null
            when last_opted_in_at > last_withdrawn_at then null
            else 'not_own_act'
        end as rejection_reason,
        case
            when last_opted_in_at > last_withdrawn_at then 'granted'
            when last_withdrawn_at is not null then 'withdrawn'
            when last_accepted_at is not null then 'granted'
            else 'requested'
        end as account_state,
        case
            when accepted_at is null or not is_own_act then null
            when needs_request then last_requested_at
            else recorded_at
        end as opted_in_at
    from compared
)

select * from final

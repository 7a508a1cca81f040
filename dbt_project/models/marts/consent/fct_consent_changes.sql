with decisions as (
    select * from {{ ref('int_decisions_collected') }}
),

changes as (
    select * from {{ ref('int_decisions_compared') }}
),

judged as (
    select
        decisions.*,
        case when decisions.customer_id is not null then coalesce(changes.decision_number, 1) end
            as decision_number,
        case when decisions.customer_id is not null then coalesce(changes.state_before, 'none') end
            as state_before,
        case
            when decisions.customer_id is null then null
            when changes.consent_change_id is not null then changes.state_after
            when decisions.account_state is not null then decisions.account_state
            when decisions.rejection_reason is null then decisions.decision
            else 'none'
        end as state_after
    from decisions
    left join changes on decisions.consent_change_id = changes.consent_change_id
),

final as (
    select
        consent_change_id,
        decision_id,
        customer_id,
        channel,
        decision,
        subject_key,
        decision_source,
        wording_version,
        decision_proof,
        campaign_id,
        rejection_reason,
        state_before,
        state_after,
        cast(decision_number as bigint) as decision_number,
        recorded_at,
        coalesce(state_before <> state_after, false) as is_state_change
    from judged
)

select * from final

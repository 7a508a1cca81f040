{{ config(materialized='view') }}

{%- set up_to_here -%}
    over (partition by customer_id, channel order by decision_number rows between unbounded preceding and current row)
{%- endset -%}

-- One model reads it: it is written nowhere.
with decisions as (
    select * from {{ ref('int_decisions_collected') }}
),

severities as (
    select * from {{ ref('consent_decisions') }}
),

-- Most people decide once: only of the others is it worked out where they stood before and after.
several as (
    select
        customer_id,
        channel
    from decisions
    where customer_id is not null
    group by customer_id, channel
    having count(*) > 1
),

-- What counts comes before what does not, and the severe before the mild.
placed as (
    select
        decisions.consent_change_id,
        decisions.customer_id,
        decisions.channel,
        decisions.decision,
        decisions.subject_key,
        decisions.account_state,
        severities.severity,
        decisions.rejection_reason is null as is_counted,
        row_number() over (
            partition by decisions.customer_id, decisions.channel
            order by
                decisions.recorded_at,
                case when decisions.rejection_reason is null then 0 else 1 end,
                severities.severity,
                decisions.consent_change_id
        ) as decision_number
    from decisions
    inner join several on decisions.customer_id = several.customer_id and decisions.channel = several.channel
    inner join severities on decisions.decision = severities.decision
),

compared as (
    select
        *,
        lag(account_state) over (
            partition by customer_id, channel, subject_key, case when account_state is null then 1 else 0 end
            order by decision_number
        ) as previous_account_state
    from placed
),

-- How many of the person's accounts, and of the unsubscribes that reached it, stand in each state.
counted as (
    select
        *,
        min(case when is_counted and decision in ('erased', 'complained', 'bounced') then severity end)
            {{ up_to_here }} as final_severity,
        sum({{ entered_or_left('withdrawn', 'account_state', 'previous_account_state') }}) {{ up_to_here }}
            as withdrawn_count,
        sum({{ entered_or_left('requested', 'account_state', 'previous_account_state') }}) {{ up_to_here }}
            as requested_count,
        sum({{ entered_or_left('granted', 'account_state', 'previous_account_state') }}) {{ up_to_here }}
            as granted_count,
        sum(case decision when 'unsubscribed' then 1 when 'lifted' then -1 else 0 end) {{ up_to_here }}
            as unsubscribed_count
    from compared
),

stood as (
    select
        counted.consent_change_id,
        counted.customer_id,
        counted.channel,
        counted.decision_number,
        case
            when counted.final_severity is not null then severities.decision
            when counted.unsubscribed_count > 0 then 'unsubscribed'
            when counted.withdrawn_count > 0 then 'withdrawn'
            when counted.requested_count > 0 then 'requested'
            when counted.granted_count > 0 then 'granted'
            else 'none'
        end as state_after
    from counted
    left join severities on counted.final_severity = severities.severity
),

final as (
    select
        consent_change_id,
        state_after,
        decision_number,
        coalesce(
            lag(state_after) over (partition by customer_id, channel order by decision_number), 'none'
        ) as state_before
    from stood
)

select * from final

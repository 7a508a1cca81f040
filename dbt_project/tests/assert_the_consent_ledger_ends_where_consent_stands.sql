-- The last decision of the ledger leaves a person where the current state has it, or it is not its history.
with changes as (
    select
        *,
        row_number()
            over (partition by customer_id, channel order by decision_number desc)
            as number_from_the_last
    from {{ ref('fct_consent_changes') }}
    where customer_id is not null
),

consents as (
    select
        *,
        case
            when refusal_reason in ('erased', 'complained', 'bounced', 'unsubscribed') then refusal_reason
            else consent_state
        end as current_state
    from {{ ref('dim_customer_consents') }}
)

select
    consents.customer_id,
    consents.channel,
    consents.current_state,
    changes.state_after
from consents
left join changes
    on
        consents.customer_id = changes.customer_id
        and consents.channel = changes.channel
        and changes.number_from_the_last = 1
where consents.current_state <> coalesce(changes.state_after, 'none')

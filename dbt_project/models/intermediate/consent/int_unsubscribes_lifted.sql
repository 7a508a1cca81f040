with events as (
    select * from {{ ref('int_email_decisions_collected') }}
    where decision = 'unsubscribed'
),

touches as (
    select * from {{ ref('int_identifiers_touched') }}
),

consents as (
    select * from {{ ref('int_consents_judged') }}
    where channel = 'email' and customer_id is not null
),

-- Each account that the unsubscribe touched, and when its person opted in again there.
accounts as (
    select
        events.decision_id,
        consents.source_customer_key,
        max(case when touches.is_stated then 1 else 0 end) as is_stated,
        min(case when consents.opted_in_at > events.occurred_at then consents.recorded_at end)
            as opted_in_again_at
    from events
    inner join touches on events.decision_id = touches.decision_id
    inner join consents on touches.source_customer_key = consents.source_customer_key
    group by events.decision_id, consents.source_customer_key
),

stated as (
    select distinct decision_id
    from touches
    where is_stated
),

-- The most restrictive account counts: an unsubscribe ends when the last of them has opted in again. Where
-- accounts are named by it, by themselves or by their address, one of these must be among them: the opt-in of
-- another address says nothing of this one.
lifts as (
    select
        accounts.decision_id,
        max(accounts.opted_in_again_at) as lifted_at
    from accounts
    left join stated on accounts.decision_id = stated.decision_id
    group by accounts.decision_id
    having
        count(*) = count(accounts.opted_in_again_at)
        and max(case when stated.decision_id is null then 1 else accounts.is_stated end) = 1
),

ranked as (
    select
        lifts.decision_id,
        consents.consent_proof,
        lifts.lifted_at,
        row_number() over (
            partition by lifts.decision_id
            order by consents.consent_id
        ) as proof_rank
    from lifts
    inner join
        accounts
        on lifts.decision_id = accounts.decision_id and lifts.lifted_at = accounts.opted_in_again_at
    inner join consents
        on
            accounts.source_customer_key = consents.source_customer_key
            and accounts.opted_in_again_at = consents.recorded_at
    where consents.opted_in_at is not null
),

final as (
    select
        decision_id,
        consent_proof,
        lifted_at
    from ranked
    where proof_rank = 1
)

select * from final

with landed as (
    select * from {{ landed(source('history', 'sends')) }}
),

final as (
    select
        campaign_id,
        customer_id,
        destination,
        state as send_state,
        message_id,
        row_number() over (
            partition by destination, campaign_id, customer_id
            order by _load_sequence desc, case when accepted_at is null then 1 else 0 end, accepted_at, message_id, state
        ) as export_number,
        accepted_at,
        _load_sequence
    from landed
    where not {{ is_after_as_of('accepted_at') }}
)

select * from final

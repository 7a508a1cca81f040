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
        accepted_at,
        _load_sequence,
        row_number() over (
            partition by destination, campaign_id, customer_id
            order by
                _load_sequence desc,
                case when accepted_at is null then 1 else 0 end,
                accepted_at asc,
                message_id asc,
                state asc
        ) as export_number
    from landed
    where not {{ is_after_as_of('accepted_at') }}
)

select * from final

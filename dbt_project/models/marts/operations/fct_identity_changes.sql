with identity_changes as (
    select * from {{ ref('stg_history__identity_changes') }}
),

final as (
    select
        version,
        source_customer_key,
        old_customer_id,
        new_customer_id,
        changed_as_of
    from identity_changes
)

select * from final

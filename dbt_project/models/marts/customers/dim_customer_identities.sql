with identifiers as (
    select * from {{ ref('int_identifiers_resolved') }}
),

final as (
    select
        source_customer_key,
        customer_id,
        source_system,
        identifier_kind,
        first_seen_at
    from identifiers
)

select * from final

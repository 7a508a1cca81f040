with edges as (
    select * from {{ ref('int_identity_edges_collected') }}
),

final as (
    select
        left_identifier,
        right_identifier,
        edge_kind,
        source_system,
        refusal_reason,
        is_joining,
        first_seen_at
    from edges
)

select * from final

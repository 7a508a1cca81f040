with landed as (
    select * from {{ ref('stg_landing__row_counts') }}
),

disposed as (
    select * from {{ ref('int_rows_disposed') }}
),

united as (
    select
        source_name,
        entity_name,
        'landed' as disposition,
        row_count
    from landed
    union all
    select
        source_name,
        entity_name,
        disposition,
        row_count
    from disposed
),

final as (
    select
        source_name,
        entity_name,
        disposition,
        cast(row_count as bigint) as row_count,
        case
            when disposition = 'landed' then 'landed'
            when disposition = 'used' or disposition like 'used:%' then 'used'
            when disposition like 'quarantined:%' then 'quarantined'
            when disposition in ('duplicate', 'superseded') then 'repeated'
            when disposition = 'after_as_of' then 'not_yet'
        end as disposition_kind
    from united
)

select * from final

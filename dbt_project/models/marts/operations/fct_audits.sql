with audits as (
    select * from {{ ref('stg_history__audits') }}
),

final as (
    select
        audit_id,
        run_id,
        suite,
        subject,
        expectation_type,
        column_name,
        severity,
        observed_value,
        batch_number,
        element_count,
        unexpected_count,
        unexpected_percent,
        is_success,
        checked_at,
        audit_id
        || ':'
        || cast(batch_number as varchar)
        || ':'
        || expectation_type
        || ':'
        || column_name_key
        || ':'
        || cast(check_number as varchar) as audit_check_id
    from audits
)

select * from final

with landed as (
    select * from {{ landed(source('history', 'audits')) }}
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
        cast(coalesce(batch_number, 0) as bigint) as batch_number,
        cast(element_count as bigint) as element_count,
        cast(unexpected_count as bigint) as unexpected_count,
        cast(unexpected_percent as {{ double() }}) as unexpected_percent,
        success as is_success,
        checked_at,
        _load_sequence,
        coalesce(column_name, '') as column_name_key,
        row_number() over (
            partition by audit_id, coalesce(batch_number, 0), expectation_type, coalesce(column_name, '')
            order by severity, observed_value, element_count
        ) as check_number
    from landed
)

select * from final

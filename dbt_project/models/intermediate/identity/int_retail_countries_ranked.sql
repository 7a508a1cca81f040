with invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

country_names as (
    select * from {{ ref('country_names') }}
),

counted as (
    select
        invoice_lines.retail_customer_id,
        country_names.country_code,
        count(*) as line_count
    from invoice_lines
    inner join country_names on invoice_lines.country_name = country_names.country_name
    where invoice_lines.retail_customer_id is not null and country_names.country_code is not null
    group by invoice_lines.retail_customer_id, country_names.country_code
),

ranked as (
    select
        *,
        row_number() over (
            partition by retail_customer_id
            order by line_count desc, country_code asc
        ) as country_rank
    from counted
),

final as (
    select
        country_code,
        'online_retail:' || retail_customer_id as source_customer_key
    from ranked
    where country_rank = 1
)

select * from final

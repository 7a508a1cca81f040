with landed as (
    select * from {{ landed(source('online_retail', 'invoice_lines')) }}
),

stock_codes as (
    select * from {{ ref('online_retail_stock_codes') }}
),

renamed as (
    select
        file as file_name,
        cast(line_number as bigint) as line_number,
        upper(trim(invoice_no)) as invoice_number,
        upper(trim(stock_code)) as stock_code,
        nullif(trim(description), '') as description,
        cast(customer_id as varchar) as retail_customer_id,
        nullif(trim(country), '') as country_name,
        cast(quantity as bigint) as quantity,
        {{ money('unit_price') }} as unit_price,
        {{ money('quantity * unit_price') }} as line_amount,
        {{ matches('upper(trim(invoice_no))', '^C[0-9]+$') }} as is_cancellation,
        {{ london_to_utc('invoice_date') }} as invoiced_at,
        _load_sequence,
        _row_hash
    from landed
),

numbered as (
    select
        renamed.*,
        coalesce(stock_codes.kind, 'product') as line_kind,
        coalesce(stock_codes.is_revenue, true) as is_revenue,
        row_number() over (
            partition by
                renamed.invoice_number, renamed.stock_code, renamed.description, renamed.quantity,
                renamed.invoiced_at, renamed.unit_price, renamed.retail_customer_id, renamed.country_name
            order by renamed._load_sequence, renamed.file_name, renamed.line_number
        ) as copy_number,
        row_number() over (
            partition by renamed.file_name, renamed.line_number
            order by renamed._load_sequence desc, renamed._row_hash asc
        ) as version_number
    from renamed
    left join stock_codes on renamed.stock_code = stock_codes.stock_code
),

final as (
    select
        *,
        case
            when {{ is_after_as_of('invoiced_at') }} then 'after_as_of'
            when invoiced_at is null then 'quarantined:missing_time'
            when version_number > 1 then 'superseded'
            when copy_number > 1 then 'duplicate'
            when {{ matches('invoice_number', '^A[0-9]+$') }} then 'quarantined:adjustment'
            when not {{ matches('invoice_number', '^C?[0-9]+$') }} then 'quarantined:unknown_invoice_kind'
            when stock_code is null or stock_code = '' then 'quarantined:missing_product'
            when not is_revenue then 'quarantined:not_revenue'
            when unit_price is null or unit_price <= 0 then 'quarantined:non_positive_price'
            when is_cancellation and (quantity is null or quantity >= 0)
                then 'quarantined:cancellation_adds_quantity'
            when not is_cancellation and (quantity is null or quantity <= 0)
                then 'quarantined:non_positive_quantity'
            when is_cancellation then 'used:cancellation'
            when retail_customer_id is null then 'used:no_customer'
            else 'used'
        end as disposition
    from numbered
)

select * from final

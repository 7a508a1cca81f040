with invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

credits as (
    select * from {{ ref('int_credits_matched') }}
),

refunds as (
    select
        matched_invoice_number as invoice_number,
        sum(refund_amount) as refunded_amount
    from credits
    group by matched_invoice_number
),

-- What a cancellation takes back from a known purchase is that order's refund; the rest stays its own.
summed as (
    select
        invoice_lines.invoice_number,
        max(invoice_lines.retail_customer_id) as retail_customer_id,
        min(invoice_lines.invoiced_at) as ordered_at,
        count(*) as line_count,
        sum(case when invoice_lines.is_cancellation then 0 else invoice_lines.quantity end) as item_count,
        sum(case when invoice_lines.is_cancellation then 0 else invoice_lines.line_amount end)
            as gross_amount,
        sum(
            case
                when
                    invoice_lines.is_cancellation and credits.line_number is null
                    then -invoice_lines.line_amount
                else 0
            end
        ) as unmatched_amount,
        max(case when invoice_lines.is_cancellation then 1 else 0 end) = 1 as is_cancelled,
        max(invoice_lines._load_sequence) as _load_sequence
    from invoice_lines
    left join credits
        on
            invoice_lines.file_name = credits.file_name
            and invoice_lines.line_number = credits.line_number
    group by invoice_lines.invoice_number
),

final as (
    select
        summed.invoice_number,
        summed.retail_customer_id,
        summed.line_count,
        summed.item_count,
        summed.gross_amount,
        summed.is_cancelled,
        summed.ordered_at,
        summed._load_sequence,
        coalesce(refunds.refunded_amount, 0) + summed.unmatched_amount as refunded_amount
    from summed
    left join refunds on summed.invoice_number = refunds.invoice_number
)

select * from final

with invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

credits as (
    select * from invoice_lines
    where is_cancellation and retail_customer_id is not null
),

purchases as (
    select * from invoice_lines
    where not is_cancellation and retail_customer_id is not null
),

-- A credit takes back the latest earlier purchase of the same product at the same price that is large enough.
candidates as (
    select
        credits.file_name as credit_file_name,
        credits.line_number as credit_line_number,
        credits.line_amount as credit_amount,
        credits.quantity as credit_quantity,
        credits.invoiced_at as credited_at,
        purchases.invoice_number,
        purchases.file_name,
        purchases.line_number,
        purchases.quantity,
        row_number() over (
            partition by credits.file_name, credits.line_number
            order by purchases.invoiced_at desc, purchases.file_name asc, purchases.line_number asc
        ) as candidate_rank
    from credits
    inner join purchases
        on
            credits.retail_customer_id = purchases.retail_customer_id
            and credits.stock_code = purchases.stock_code
            and credits.unit_price = purchases.unit_price
            and credits.invoiced_at >= purchases.invoiced_at
            and -credits.quantity <= purchases.quantity
),

-- Several credits may take back parts of one purchase, but not more than was bought.
taken as (
    select
        *,
        sum(-credit_quantity) over (
            partition by file_name, line_number
            order by credited_at, credit_file_name, credit_line_number
            rows between unbounded preceding and current row
        ) as quantity_taken
    from candidates
    where candidate_rank = 1
),

final as (
    select
        credit_file_name as file_name,
        credit_line_number as line_number,
        invoice_number as matched_invoice_number,
        -credit_amount as refund_amount
    from taken
    where quantity_taken <= quantity
)

select * from final

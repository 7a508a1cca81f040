with invoice_lines as (
    select * from {{ used(ref('stg_online_retail__invoice_lines')) }}
),

counted as (
    select
        stock_code,
        line_kind,
        description,
        count(*) as line_count
    from invoice_lines
    group by stock_code, line_kind, description
),

-- The most frequent description names the product; among equals the first in the alphabet; none comes last.
ranked as (
    select
        *,
        row_number() over (
            partition by stock_code
            order by case when description is null then 1 else 0 end, line_count desc, description asc
        ) as description_rank,
        count(description) over (partition by stock_code) as name_count
    from counted
),

priced as (
    select
        stock_code,
        unit_price,
        row_number() over (
            partition by stock_code
            order by invoiced_at desc, file_name desc, line_number desc
        ) as price_rank
    from invoice_lines
),

final as (
    select
        ranked.stock_code,
        ranked.line_kind,
        ranked.description,
        ranked.line_count,
        ranked.description_rank,
        ranked.name_count,
        priced.unit_price as latest_price
    from ranked
    inner join priced on ranked.stock_code = priced.stock_code
    where priced.price_rank = 1
)

select * from final

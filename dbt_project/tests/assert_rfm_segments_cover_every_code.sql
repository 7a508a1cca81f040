-- A code without a segment would drop its customers from the segments.
with codes as (
    select * from {{ ref('rfm_segments') }}
)

select
    count(*) as code_count,
    min(rfm_code) as first_code,
    max(rfm_code) as last_code
from codes
having count(*) <> 125 or min(rfm_code) <> '111' or max(rfm_code) <> '555'

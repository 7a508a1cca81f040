-- A number with a plus sign is read by its calling code's main country: without one it would be lost, and two
-- would double its customer.
with countries as (
    select * from {{ ref('countries') }}
)

select
    calling_code,
    sum(case when is_main_of_calling_code then 1 else 0 end) as main_count
from countries
where calling_code is not null
group by calling_code
having sum(case when is_main_of_calling_code then 1 else 0 end) <> 1

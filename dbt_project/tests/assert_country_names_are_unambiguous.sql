-- A name that meant two countries would make two rows of one customer.
with country_names as (
    select * from {{ ref('country_names') }}
)

select
    {{ country_key('country_name') }} as country_key,
    count(*) as name_count
from country_names
group by {{ country_key('country_name') }}
having count(*) > 1

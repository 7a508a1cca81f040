-- Two seeds tell of countries: whoever adds a country to one has to add it to the other.
with countries as (
    select * from {{ ref('countries') }}
),

written as (
    select
        country_code,
        country_code as country_name
    from countries
    union all
    select
        country_code,
        alpha_3_code as country_name
    from countries
    union all
    select
        country_code,
        country_name
    from countries
),

country_names as (
    select * from {{ ref('country_names') }}
)

select
    written.country_name,
    written.country_code
from written
left join country_names
    on
        {{ country_key('written.country_name') }} = {{ country_key('country_names.country_name') }}
        and written.country_code = country_names.country_code
where country_names.country_code is null

-- What happened after as_of is unknown at as_of: one leak makes every model look better than it is.
with moments as (
    select last_seen_at as moment from {{ ref('dim_customers') }}
    union all
    select last_ordered_at as moment from {{ ref('dim_customers') }}
    union all
    select email_consent_changed_at as moment from {{ ref('dim_customers') }}
    union all
    select demographics_updated_at as moment from {{ ref('dim_customers') }}
    union all
    select transactions_updated_at as moment from {{ ref('dim_customers') }}
    union all
    select behaviour_updated_at as moment from {{ ref('dim_customers') }}
    union all
    select engagement_updated_at as moment from {{ ref('dim_customers') }}
    union all
    select consent_updated_at as moment from {{ ref('dim_customers') }}
    union all
    select ordered_at as moment from {{ ref('fct_orders') }}
    union all
    select ordered_at as moment from {{ ref('fct_customer_orders') }}
    union all
    select recorded_at as moment from {{ ref('fct_consent_changes') }}
)

select * from moments
where {{ is_after_as_of('moment') }}

with sessions as (
    select * from {{ ref('int_sessions_summarised') }}
),

aged as (
    select
        *,
        case when {{ days_between('started_at', as_of()) }} < {{ var('web_feature_days') }} then 1 else 0 end
            as is_recent
    from sessions
    where customer_id is not null
),

final as (
    select
        customer_id,
        count(*) as web_session_count,
        sum(is_recent) as web_sessions_30d,
        sum(product_view_count * is_recent) as product_views_30d,
        sum(case when cart_addition_count > 0 then is_recent else 0 end) as carts_30d,
        min(started_at) as first_web_seen_at,
        max(ended_at) as last_web_seen_at,
        max(last_product_viewed_at) as last_product_viewed_at
    from aged
    group by customer_id
)

select * from final

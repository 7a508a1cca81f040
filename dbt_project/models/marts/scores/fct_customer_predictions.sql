with scores as (
    select * from {{ ref('fct_customer_scores') }}
),

tiers as (
    select
        customer_id,
        {% for model in ['customer_clusters', 'customer_lifetime_value', 'purchase_propensity',
            'churn_propensity', 'click_propensity', 'recommendations', 'uplift'] -%}
            max(case when model_name = '{{ model }}' then tier end) as {{ model }},
        {% endfor -%}
        max(case when model_name = 'customer_lifetime_value' then decile end) as clv_decile,
        max(case when model_name = 'send_time' then details end) as send_time,
        max(case when model_name = 'subject_lines' then details end) as subject_lines
    from scores
    group by customer_id
),

detailed as (
    select
        *,
        {{ json_texts('subject_lines', ['style']) }} as styles,
        {{ json_texts('send_time', ['weekday', 'workday_hour', 'weekend_hour']) }} as times
    from tiers
),

-- The best hour of the weekday, never the one that is drawn by lot: that one is another every day.
final as (
    select
        customer_id,
        customer_clusters as cluster,
        customer_lifetime_value as clv_tier,
        purchase_propensity as purchase_propensity_tier,
        churn_propensity as churn_propensity_tier,
        click_propensity as click_propensity_tier,
        {{ item('styles', 1) }} as subject_line_style,
        nullif(recommendations, 'none') as recommendation_kind,
        clv_decile,
        cast({{ number_or_null(item('times', 1)) }} as bigint) as best_send_weekday,
        cast(
            case
                when {{ item('times', 1) }} in ('5', '6') then {{ number_or_null(item('times', 3)) }}
                when {{ item('times', 1) }} is not null then {{ number_or_null(item('times', 2)) }}
            end as bigint
        ) as best_send_hour,
        case uplift when 'mail' then true when 'do not mail' then false end as is_uplift_target,
        {{ as_of() }} as as_of
    from detailed
)

select * from final

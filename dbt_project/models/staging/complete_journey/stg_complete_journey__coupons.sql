with landed as (
    select * from {{ landed(source('complete_journey', 'coupons')) }}
),

renamed as (
    select
        file as file_name,
        cast(line_number as bigint) as line_number,
        cast(coupon_upc as varchar) as coupon_upc,
        cast(product_id as varchar) as journey_product_id,
        cast(campaign_id as varchar) as journey_campaign_id,
        _load_sequence,
        _row_hash
    from landed
),

repeated as (
    select * from {{ repeated_lines(
        'renamed',
        content=['coupon_upc', 'journey_product_id', 'journey_campaign_id'],
        alike=['coupon_upc', 'journey_product_id'],
    ) }}
),

final as (
    select
        *,
        case
            when is_superseded then 'superseded'
            when is_copy then 'duplicate'
            when coupon_upc is null or journey_product_id is null or journey_campaign_id is null
                then 'quarantined:missing_key'
            else 'used'
        end as disposition
    from repeated
)

select * from final

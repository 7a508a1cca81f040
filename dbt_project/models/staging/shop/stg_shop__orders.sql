with landed as (
    select * from {{ landed(source('shop', 'orders')) }}
),

renamed as (
    select
        order_id as shop_order_id,
        customer_id as shop_customer_id,
        {{ normalised_email('email') }} as normalised_email,
        status as order_status,
        currency,
        {{ money('discount_amount') }} as discount_amount,
        {{ money('shipping_amount') }} as shipping_amount,
        {{ money('total_amount') }} as total_amount,
        {{ is_valid_email(normalised_email('email')) }} as is_email_valid,
        ordered_at,
        updated_at,
        _load_sequence,
        _row_hash
    from landed
),

final as (
    select
        *,
        {{ disposition(
            key=['shop_order_id'],
            event_time='greatest(ordered_at, updated_at)',
            quarantined={
                'missing_key': 'shop_order_id is null',
                'missing_time': 'ordered_at is null or updated_at is null',
                'missing_amount': 'total_amount is null',
                'negative_amount': 'total_amount < 0',
            },
            repeated='superseded',
        ) }} as disposition
    from renamed
)

select * from final

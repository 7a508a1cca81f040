{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='shop_order_id') }}

with landed as (
    select * from {{ landed(source('shop', 'orders')) }}
),

rates as (
    select
        currency,
        units_per_pound,
        valid_from,
        lead(valid_from) over (partition by currency order by valid_from) as next_valid_from
    from {{ ref('exchange_rates') }}
),

renamed as (
    select
        order_id as shop_order_id,
        customer_id as shop_customer_id,
        {{ sendable_email('email') }} as sendable_email,
        {{ normalised_email('email') }} as normalised_email,
        status as order_status,
        upper({{ tidy_text('currency') }}) as currency,
        {{ money('discount_amount') }} as discount_amount,
        {{ money('shipping_amount') }} as shipping_amount,
        {{ money('total_amount') }} as total_amount,
        ordered_at,
        updated_at,
        _load_sequence,
        _row_hash
    from landed
),

-- The latest rate at or before the order: no two of a currency's rates hold on one day.
rated as (
    select
        renamed.*,
        rates.units_per_pound,
        {{ is_valid_email('renamed.normalised_email') }} as is_email_valid
    from renamed
    left join rates
        on
            renamed.currency = rates.currency
            and {{ utc_date('renamed.ordered_at') }} >= rates.valid_from
            and coalesce({{ utc_date('renamed.ordered_at') }} < rates.next_valid_from, true)
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
                'test_order': 'normalised_email in (' ~ quoted(var('test_order_emails')) ~ ')',
                'unknown_currency': 'units_per_pound is null',
            },
            repeated='superseded',
        ) }} as disposition
    from {{ with_known_versions('rated', key='shop_order_id') }} as versions
)

select * from final

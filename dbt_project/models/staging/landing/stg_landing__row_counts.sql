{%- set entities = [
    source('catalogue', 'products'),
    source('crm', 'consents'),
    source('crm', 'customers'),
    source('email', 'events'),
    source('local_esp', 'events'),
    source('online_retail', 'invoice_lines'),
    source('shop', 'order_lines'),
    source('shop', 'orders'),
    source('shop', 'refunds'),
    source('web', 'events'),
] %}

with counted as (
    {% for entity in entities -%}
        select
            '{{ entity.schema }}' as source_name,
            '{{ entity.identifier }}' as entity_name,
            count(*) as row_count,
            coalesce(max(_load_sequence), 0) as _load_sequence
        from {{ landed(entity) }}
        {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

final as (
    select * from counted
)

select * from final

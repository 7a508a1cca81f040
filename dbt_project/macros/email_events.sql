{#
    The e-mail events of both senders in one shape, a message named by its system and its own id.

    In an incremental run of a model with source_system, _load_sequence and a column with the instant of its latest
    event (seen), all events of the messages of which it has not seen one: it came in a later load, or it had not
    happened yet at the last as_of. A message is thereby always computed from all of its events, in whatever order
    they arrive. The relations are given as text, not as CTEs: DuckDB copies a CTE that is read twice.
#}
{% macro email_events(shop_events, esp_events, seen, condition='true') -%}
    {%- set senders = [
        ('shop', shop_events, 'shop_customer_id', 'cast(null as varchar)'),
        ('local_esp', esp_events, 'cast(null as varchar)', 'customer_id'),
    ] -%}
    {%- set query -%}
        {%- for source_system, events, account, person in senders %}
        select
            '{{ source_system }}:' || message_id as email_message_id,
            '{{ source_system }}' as source_system,
            {{ account }} as shop_customer_id,
            {{ person }} as stated_customer_id,
            campaign_id,
            campaign_name,
            subject,
            normalised_email,
            event_type,
            bounce_type,
            url,
            is_machine_open,
            occurred_at,
            _load_sequence
        from {{ events }} as events
        where
            {{ condition }}
            {%- if is_incremental() %}
            and message_id in (
                select touching.message_id
                from {{ events }} as touching
                where
                    touching._load_sequence > (
                        select coalesce(max(_load_sequence), -1)
                        from {{ this }}
                        where source_system = '{{ source_system }}'
                    )
                    or touching.occurred_at > (
                        select max({{ seen }})
                        from {{ this }}
                        where source_system = '{{ source_system }}'
                    )
            )
            {%- endif %}
        {% if not loop.last %}union all{% endif %}
        {%- endfor %}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

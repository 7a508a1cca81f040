{#
    The landed e-mail events of a sender, typed and judged: all senders speak one language, and differ in whom they
    name as the recipient. landed_events: the landed table; recipient: the model's column for its customer_id;
    destination: the column that names the sender, where the table holds several, each with ids of its own.
#}
{% macro email_events_staged(landed_events, recipient, destination=none) -%}
    {%- set is_machine = 'coalesce(is_machine_open, false)' -%}
    {%- set quarantined = {
        'missing_key': 'event_id is null or message_id is null',
        'missing_time': 'occurred_at is null',
        'unknown_type': 'event_type is null or event_type not in (' ~ quoted(var('email_event_types')) ~ ')',
    } -%}
    {%- set content = {
        'message_id': 'message_id',
        recipient: 'customer_id',
        'normalised_email': normalised_email('email'),
        'event_type': 'event_type',
        'bounce_type': 'bounce_type',
        'url': 'url',
        'is_machine_open': is_machine,
    } -%}
    {%- if destination -%}
        {%- do content.update({destination: destination}) -%}
    {%- endif -%}
    {%- set query -%}
        select
            {%- if destination %}
            rows_landed.{{ destination }},
            {%- endif %}
            rows_landed.event_id,
            rows_landed.message_id,
            rows_landed.campaign_id,
            rows_landed.campaign_name,
            rows_landed.subject,
            rows_landed.customer_id as {{ recipient }},
            {{ normalised_email('rows_landed.email') }} as normalised_email,
            rows_landed.event_type,
            rows_landed.bounce_type,
            rows_landed.url,
            {{ is_machine }} as is_machine_open,
            rows_landed.occurred_at,
            rows_landed.received_at,
            rows_landed._load_sequence,
            rows_landed._row_hash,
            coalesce(
                {{ quarantine_reason(quarantined) }},
                case when copies._row_number is null then 'used' else 'duplicate' end
            ) as disposition
        from {{ landed(landed_events) }} as rows_landed
        left join {{ later_copies(
            landed_events,
            key=destination ~ " || ':' || event_id" if destination else 'event_id',
            instant={'occurred_at': 'occurred_at'},
            content=content,
            quarantined=quarantined,
        ) }} as copies
            on
                rows_landed._load_sequence = copies._load_sequence
                and rows_landed._row_number = copies._row_number
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

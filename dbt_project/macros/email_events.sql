{#
    The e-mail events that a model is computed from, out of int_email_events_unified.

    In an incremental run of a model with _load_sequence and a column with the instant of its latest event (seen), all
    events of the messages of which it has not seen one: it came in a later load, or it had not happened yet at the last
    as_of. A message is thereby always computed from all of its events, in whatever order they arrive. The relation is
    read by its name, not as a CTE: DuckDB copies a CTE that is read twice.
#}
{% macro email_events(events, seen, condition='true') -%}
    {%- set query -%}
        select *
        from {{ events }} as events
        where
            {{ condition }}
            {%- if is_incremental() %}
            and message_id in (
                select touching.message_id
                from {{ events }} as touching
                where
                    touching._load_sequence > (select coalesce(max(_load_sequence), -1) from {{ this }})
                    or touching.occurred_at > (select max({{ seen }}) from {{ this }})
            )
            {%- endif %}
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

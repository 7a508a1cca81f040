{#
    The used web events that an incremental model has not taken in yet, by the rule of `is_newly_known`: those of newer
    loads, and those that lay after as_of until now. The events are no table, so that the two are asked for apart: the
    first opens the newer files alone, the second only the parts of older ones whose time of receipt allows it, for no
    event happens more than clock_ahead_minutes after it was received.

    events: web events, such as those that had happened by as_of (macro used); latest: the model's own column with the
    latest event time of each of its rows.
#}
{% macro web_events_newly_known(events, latest) -%}
    {%- if execute and is_incremental() -%}
        {%- set held = run_query(
            'select coalesce(max(_load_sequence), 0), cast(max(' ~ latest ~ ') as ' ~ dbt.type_string() ~ ') from ' ~ this
        ) -%}
        {%- set sequence, instant = held.columns[0].values()[0], held.columns[1].values()[0] -%}
        {%- set query -%}
            select * from {{ events }} as events_used
            where _load_sequence > {{ sequence }}
            union all
            select * from {{ events }} as events_used
            where
                _load_sequence <= {{ sequence }}
                {%- if instant is none %}
                and occurred_at is not null
                {%- else %}
                and occurred_at > cast('{{ instant }}' as timestamptz)
                and (
                    received_at is null
                    or received_at >= cast('{{ instant }}' as timestamptz)
                    - interval '{{ var("clock_ahead_minutes") }} minutes'
                )
                {%- endif %}
        {%- endset -%}
        {{ subquery(query) }}
    {%- else -%}
        {{ events }}
    {%- endif -%}
{%- endmacro %}

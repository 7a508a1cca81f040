{#
    Whether an incremental model has not taken in an event yet: its load is newer than all that the model holds, or
    it happened after all of that, and so lay after as_of until now. Exactly the new rows, so that what adds up can
    be added to what is there; true for every row where the model is built whole.

    latest: the model's own column with the latest event time of each of its rows; load_sequence: the row's load.
    among: which of its rows tell, as a condition, where it has others.
#}
{% macro is_newly_known(event_time, latest, load_sequence='_load_sequence', among='true') -%}
    {%- if execute and is_incremental() -%}
        {%- set held = run_query(
            'select coalesce(max(_load_sequence), 0), cast(max(' ~ latest ~ ') as ' ~ dbt.type_string() ~ ') from ' ~ this
            ~ ' where ' ~ among
        ) -%}
        {%- set sequence, instant = held.columns[0].values()[0], held.columns[1].values()[0] -%}
        (
            {{ load_sequence }} > {{ sequence }}
            {%- if instant is not none %}
            or {{ event_time }} > cast('{{ instant }}' as timestamptz)
            {%- else %}
            or {{ event_time }} is not null
            {%- endif %}
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

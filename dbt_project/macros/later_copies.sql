{#
    The landed rows of a stream of events that repeat one that is there: under the same key, or with the same
    content under another key. The copy that landed first counts, so that later loads change nothing that was
    built. In an incremental run the rows of earlier loads, which stand in the model, come first.

    Few keys come twice and few events share their instant, so those are looked for in one narrow column each: a
    window over all rows would cost several times as much.

    source: the landed table; key: its key; instant: {the model's column: the landed column} of a time that hardly
    ever agrees by chance; content: {the model's column: the landed expression} of all that makes two events one;
    quarantined: {reason: condition on the landed columns}, whose rows repeat nothing.
#}
{% macro later_copies(source, key, instant, content, quarantined) -%}
    {%- set landed_instant = instant.values() | first -%}
    {%- set model_instant = instant.keys() | first -%}
    {%- set usable -%}
        not coalesce(({{ quarantined.values() | join(') or (') }}), false)
    {%- endset -%}
    {#- Written out wherever it is read: as a CTE it would be kept in memory, all rows of it. -#}
    {%- set arrived -%}
        (
            select
                {{ key }} as copy_key,
                {{ landed_instant }} as copy_instant,
                _load_sequence,
                _row_number
            from {{ landed(source) }} as rows_landed
            where {{ usable }}
        ) as arrived
    {%- endset -%}
    {%- set query -%}
        with repeated_keys as (
            select copy_key
            from (
                select copy_key from {{ arrived }}
                {%- if is_incremental() %}
                union all
                select {{ key }} as copy_key
                from {{ this }}
                where {{ key }} in (select copy_key from {{ arrived }}) and disposition in ('used', 'duplicate')
                {%- endif %}
            ) as keys_seen
            group by copy_key
            having count(*) > 1
        ),

        same_key as (
            select
                _load_sequence,
                _row_number
            from (
                select
                    copies.*,
                    row_number() over (
                        partition by copies.copy_key
                        order by copies._load_sequence, copies._row_number
                    ) as copy_number
                from (
                    select
                        copy_key,
                        _load_sequence,
                        _row_number
                    from {{ arrived }}
                    where copy_key in (select copy_key from repeated_keys)
                    {%- if is_incremental() %}
                    union all
                    select
                        {{ key }} as copy_key,
                        min(_load_sequence) as _load_sequence,
                        0 as _row_number
                    from {{ this }}
                    where {{ key }} in (select copy_key from {{ arrived }}) and disposition in ('used', 'duplicate')
                    group by {{ key }}
                    {%- endif %}
                ) as copies
            ) as numbered
            where copy_number > 1
        ),

        shared_instants as (
            select copy_instant
            from (
                select copy_instant from {{ arrived }}
                {%- if is_incremental() %}
                union all
                select {{ model_instant }} as copy_instant
                from {{ this }}
                where {{ model_instant }} in (select copy_instant from {{ arrived }}) and disposition = 'used'
                {%- endif %}
            ) as instants_seen
            where copy_instant is not null
            group by copy_instant
            having count(*) > 1
        ),

        alike as (
            select
                {%- for column, expression in content.items() %}
                {{ expression }} as {{ column }},
                {%- endfor %}
                {{ landed_instant }} as copy_instant,
                rows_landed._load_sequence,
                rows_landed._row_number
            from {{ landed(source) }} as rows_landed
            left join same_key
                on
                    rows_landed._load_sequence = same_key._load_sequence
                    and rows_landed._row_number = same_key._row_number
            where
                {{ usable }}
                and {{ landed_instant }} in (select copy_instant from shared_instants)
                and same_key._row_number is null
            {%- if is_incremental() %}
            union all
            select
                {%- for column in content %}
                {{ column }},
                {%- endfor %}
                {{ model_instant }} as copy_instant,
                _load_sequence,
                0 as _row_number
            from {{ this }}
            where {{ model_instant }} in (select copy_instant from shared_instants) and disposition = 'used'
            {%- endif %}
        ),

        same_content as (
            select
                _load_sequence,
                _row_number
            from (
                select
                    _load_sequence,
                    _row_number,
                    row_number() over (
                        partition by copy_instant, {{ content.keys() | join(', ') }}
                        order by _load_sequence, _row_number
                    ) as copy_number
                from alike
            ) as numbered
            where copy_number > 1
        )

        select * from same_key
        union all
        select * from same_content
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

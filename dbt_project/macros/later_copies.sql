{#
    The landed rows of a stream of events that repeat one that is there: under the same key, or with the same
    content under another key. The copy that landed first counts, so that later loads change nothing that was
    built. In an incremental run the rows of earlier loads come first: they stand in the model, or, where it keeps
    nothing but the copies, are read again where they landed, of one narrow column as long as nothing agrees.

    Few keys come twice and few events share their instant, so those are looked for in one narrow column each: a
    window over all rows would cost several times as much.

    source: the landed table; key: its key; instant: {the model's column: the landed column} of a time that hardly
    ever agrees by chance; content: {the model's column: the landed expression} of all that makes two events one;
    quarantined: {reason: condition on the landed columns}, whose rows repeat nothing; keeps_rows: whether the model
    has a row for each landed one, with its disposition, or one for each copy.
#}
{% macro later_copies(source, key, instant, content, quarantined, keeps_rows=true) -%}
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
    {#- What is looked at first: of a quarantined row only later is it asked whether it is one. -#}
    {%- set seen -%}
        (
            select
                {{ key }} as copy_key,
                {{ landed_instant }} as copy_instant
            from {{ landed(source) }} as rows_landed
        ) as seen
    {%- endset -%}
    {%- set seen_earlier -%}
        (
            select
                {{ key }} as copy_key,
                {{ model_instant if keeps_rows else landed_instant }} as copy_instant
            from {{ this if keeps_rows else landed(source, earlier=true) }} as rows_held
            {%- if keeps_rows %}
            where disposition in ('used', 'duplicate')
            {%- endif %}
        ) as seen_earlier
    {%- endset -%}
    {#- The rows of earlier loads that are usable, and those of them that repeat nothing. -#}
    {%- set held -%}
        {%- if keeps_rows -%}
        (
            select
                {{ key }} as copy_key,
                {{ model_instant }} as copy_instant,
                {%- for column in content %}
                {{ column }},
                {%- endfor %}
                _load_sequence,
                disposition = 'used' as is_first
            from {{ this }}
            where disposition in ('used', 'duplicate')
        ) as held
        {%- else -%}
        (
            select
                rows_landed.{{ key }} as copy_key,
                rows_landed.{{ landed_instant }} as copy_instant,
                {%- for column, expression in content.items() %}
                {{ expression }} as {{ column }},
                {%- endfor %}
                rows_landed._load_sequence,
                copies_held._row_number is null as is_first
            from {{ landed(source, earlier=true) }} as rows_landed
            left join {{ this }} as copies_held
                on
                    rows_landed._load_sequence = copies_held._load_sequence
                    and rows_landed._row_number = copies_held._row_number
            where {{ usable }}
        ) as held
        {%- endif -%}
    {%- endset -%}
    {%- set query -%}
        with repeated_keys as {{ materialized_once() }} (
            select copy_key
            from (
                select copy_key from {{ seen }}
                {%- if is_incremental() %}
                union all
                select copy_key
                from {{ seen_earlier }}
                where copy_key in (select copy_key from {{ seen }})
                {%- endif %}
            ) as keys_seen
            where copy_key is not null
            group by copy_key
            having count(*) > 1
        ),

        same_key as {{ materialized_once() }} (
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
                        copy_key,
                        min(_load_sequence) as _load_sequence,
                        0 as _row_number
                    from {{ held }}
                    where copy_key in (select copy_key from repeated_keys)
                    group by copy_key
                    {%- endif %}
                ) as copies
            ) as numbered
            where copy_number > 1
        ),

        shared_instants as {{ materialized_once() }} (
            select copy_instant
            from (
                select copy_instant from {{ seen }}
                {%- if is_incremental() %}
                union all
                select copy_instant
                from {{ seen_earlier }}
                where copy_instant in (select copy_instant from {{ seen }})
                {%- endif %}
            ) as instants_seen
            where copy_instant is not null
            group by copy_instant
            having count(*) > 1
        ),

        -- Kept, so that the content is read of these alone.
        suspects as {{ materialized_once() }} (
            select
                {%- for column, expression in content.items() %}
                {{ expression }} as {{ column }},
                {%- endfor %}
                {{ landed_instant }} as copy_instant,
                _load_sequence,
                _row_number
            from {{ landed(source) }} as rows_landed
            where {{ usable }} and {{ landed_instant }} in (select copy_instant from shared_instants)
        ),

        alike as (
            select suspects.*
            from suspects
            left join same_key
                on
                    suspects._load_sequence = same_key._load_sequence
                    and suspects._row_number = same_key._row_number
            where same_key._row_number is null
            {%- if is_incremental() %}
            union all
            select
                {%- for column in content %}
                {{ column }},
                {%- endfor %}
                copy_instant,
                _load_sequence,
                0 as _row_number
            from {{ held }}
            where copy_instant in (select copy_instant from shared_instants) and is_first
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

{#
    The lines of files (file_name, line_number, _load_sequence) with two flags: is_superseded where a later load
    brought the same line again, is_copy where an earlier line that is not superseded has the same content. Few lines
    repeat anything, and only those are compared: windows over all of them would cost as much as all else together.

    content: columns; alike: those of them that lines with the same content hardly ever share with another one.
#}
{% macro repeated_lines(relation, content, alike) -%}
    {%- set query -%}
        with latest as (
            select
                file_name,
                line_number,
                max(_load_sequence) as last_load_sequence
            from {{ relation }}
            group by file_name, line_number
            having count(*) > 1
        ),

        versioned as (
            select
                lines.*,
                coalesce(lines._load_sequence < latest.last_load_sequence, false) as is_superseded
            from {{ relation }} as lines
            left join latest on lines.file_name = latest.file_name and lines.line_number = latest.line_number
        ),

        suspected as (
            select {{ alike | join(', ') }}
            from versioned
            where not is_superseded
            group by {{ alike | join(', ') }}
            having count(*) > 1
        ),

        numbered as (
            select
                versioned.file_name,
                versioned.line_number,
                row_number() over (
                    partition by versioned.{{ content | join(', versioned.') }}
                    order by versioned._load_sequence, versioned.file_name, versioned.line_number
                ) as copy_number
            from versioned
            inner join suspected
                on
                    {% for column in alike -%}
                        {{ "and " if not loop.first }}versioned.{{ column }} = suspected.{{ column }}
                    {% endfor %}
            where not versioned.is_superseded
        )

        select
            versioned.*,
            numbered.copy_number is not null as is_copy
        from versioned
        left join numbered
            on
                versioned.file_name = numbered.file_name
                and versioned.line_number = numbered.line_number
                and numbered.copy_number > 1
                and not versioned.is_superseded
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

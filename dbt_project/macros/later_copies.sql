{#
    The rows of a relation with own_disposition that repeat another one's content under a key of their own: of the
    used rows that agree in all columns of the content, every one but the first that was received. Few rows share
    their instant with another, and only those are compared: a window over all of them would cost twice as much.

    content: columns; instant: the one of them that hardly ever agrees by chance.
#}
{% macro later_copies(relation, key, instant, content) -%}
    (
        select copies.{{ key }}
        from (
            select
                {{ key }},
                row_number() over (
                    partition by {{ content | join(', ') }}
                    order by received_at, _load_sequence, {{ key }}
                ) as copy_number
            from {{ relation }}
            where
                own_disposition = 'used'
                and {{ instant }} in (
                    select {{ instant }}
                    from {{ relation }}
                    where own_disposition = 'used'
                    group by {{ instant }}
                    having count(*) > 1
                )
        ) as copies
        where copies.copy_number > 1
    )
{%- endmacro %}

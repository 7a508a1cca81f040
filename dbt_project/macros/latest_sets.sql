{# Of what models wrote, the latest set of each model, whole: nobody keeps a row of an older one. #}
{% macro latest_sets(relation) -%}
    (
        select *
        from (
            select
                *,
                dense_rank() over (
                    partition by model_name
                    order by scored_as_of desc, _load_sequence desc, model_version desc
                ) as set_rank
            from {{ relation }}
        ) as ranked
        where set_rank = 1
    )
{%- endmacro %}

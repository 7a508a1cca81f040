{#
    The new rows of a staging model, and in an incremental run the model's own rows of the same keys, so that it is
    judged anew which version counts. Also those of keys that have a row which was not due yet. What is cleaned
    once is not cleaned again.

    relation: the new rows, with all columns of the model but the disposition, in their order; key: one column.
#}
{% macro with_known_versions(relation, key) -%}
    (
        select * from {{ relation }}
        {%- if execute and is_incremental() %}
        {%- set columns = adapter.get_columns_in_relation(this) | map(attribute='name') | reject('equalto', 'disposition') %}
        union all
        select {{ columns | join(', ') }}
        from {{ this }}
        where
            {{ key }} in (select {{ key }} from {{ relation }})
            or {{ key }} in (select {{ key }} from {{ this }} where disposition = 'after_as_of')
        {%- endif %}
    )
{%- endmacro %}

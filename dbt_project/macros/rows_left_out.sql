{#
    For the post-hook of an incremental model: deletes the rows that its source does not have any more, such as a visit
    that late events have joined with the one before it. Within the model's own transaction.
#}
{% macro rows_left_out(source, key) -%}
    {%- if is_incremental() -%}
        delete from {{ this }}
        where {{ key }} in (
            select held.{{ key }}
            from {{ this }} as held
            left join {{ source }} as found on held.{{ key }} = found.{{ key }}
            where found.{{ key }} is null
        )
    {%- endif -%}
{%- endmacro %}

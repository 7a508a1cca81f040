{#
    In an incremental run, lets of a relation's rows only those pass that the model does not hold as they are: most stay
    what they were, and to compare a row costs less than to write it. Follows the relation in its from clause; the model
    has a contract, whose columns are compared. A row that is gone from the relation stays: see rows_left_out.
#}
{% macro changed_rows(relation, key) -%}
    {%- if execute and is_incremental() -%}
        left join {{ this }} as held on {{ relation }}.{{ key }} = held.{{ key }}
        where
            held.{{ key }} is null
            {%- for column in model.columns if column != key %}
            or {{ relation }}.{{ column }} is distinct from held.{{ column }}
            {%- endfor %}
    {%- endif -%}
{%- endmacro %}

{#
    The newest load that an incremental model has taken in, or none where it is built whole. It follows from the
    model's own rows, which are written in one transaction: a killed build neither loses nor repeats a load.
#}
{% macro load_watermark() -%}
    {%- if execute and is_incremental() -%}
        {{ return(run_query('select coalesce(max(_load_sequence), 0) from ' ~ this).columns[0].values()[0]) }}
    {%- else -%}
        {{ return(none) }}
    {%- endif -%}
{%- endmacro %}

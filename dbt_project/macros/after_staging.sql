{#
    Makes a model that finds staging models in dbt's graph come after them in a build of everything: the variable
    `staged` (given by whoever builds, as "<source>.<entity>") names them while dbt parses, when there is no graph yet.
    A build by layers has the right order without it.
#}
{% macro after_staging() -%}
    {%- for entity in var('staged') or [] -%}
        {%- do ref('stg_' ~ entity | replace('.', '__')) -%}
    {%- endfor -%}
{%- endmacro %}

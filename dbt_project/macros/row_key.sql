{# What names a landed row without telling of a person: its id of plain signs, else the hash of its content. #}
{% macro row_key(columns, row_hash='_row_hash') -%}
    {%- set parts = [] -%}
    {%- for column in columns -%}
        {%- do parts.append('cast(' ~ column ~ ' as varchar)') -%}
    {%- endfor -%}
    {%- if parts -%}
    case
        when {{ matches(parts | join(" || ':' || "), '^[A-Za-z0-9_.:/-]+$') }} then {{ parts | join(" || ':' || ") }}
        else 'hash:' || {{ row_hash }}
    end
    {%- else -%}
    'hash:' || {{ row_hash }}
    {%- endif -%}
{%- endmacro %}

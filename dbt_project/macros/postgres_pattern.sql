{#
    A regular expression of RE2 (DuckDB) as PostgreSQL reads it. The classes that PostgreSQL has not, or fills by the
    database's locale, are written out: separators and invisible signs of Unicode, and what counts as a blank.
#}
{% macro postgres_pattern(pattern) -%}
    {%- set blank = ' \\t\\n\\u000b\\u000c\\r' -%}
    {%- set separators = ' \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000' -%}
    {%- set invisible = (
        '\\u0001-\\u001f\\u007f-\\u009f\\u00ad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u180e'
        ~ '\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2064\\u2066-\\u206f\\ue000-\\uf8ff\\ufeff\\ufff9-\\ufffb'
        ~ '\\U000110bd\\U000110cd\\U00013430-\\U0001343f\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a'
        ~ '\\U000e0001\\U000e0020-\\U000e007f\\U000f0000-\\U000ffffd\\U00100000-\\U0010fffd'
    ) -%}
    {{- pattern
        | replace('[:space:]', blank)
        | replace('\\p{Z}', separators)
        | replace('\\p{C}', invisible)
        | replace('\\b', '\\y') -}}
{%- endmacro %}

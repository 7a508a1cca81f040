{#
    A 32-character pseudonym that cannot be computed, or guessed by trying, without the identity key. The key is
    read when the statement runs (DuckDB: from its file; PostgreSQL: from the table that the loader of the landing
    fills): it stands in no compiled SQL, no log and no table of the models.
#}
{% macro keyed_hash(expression) -%}
    {{ adapter.dispatch('keyed_hash', 'letterpress')(expression) }}
{%- endmacro %}

{% macro duckdb__keyed_hash(expression) -%}
    {%- set key -%}
        (select hex(content) from read_blob('{{ env_var("LETTERPRESS_IDENTITY_KEY_FILE") | replace("'", "''") }}'))
    {%- endset -%}
    left(sha256({{ key }} || sha256({{ key }} || {{ expression }})), 32)
{%- endmacro %}

{% macro postgres__keyed_hash(expression) -%}
    {%- set key = '(select key_hex from landing.identity_key)' -%}
    landing.keyed_hash({{ expression }}, {{ key }})
{%- endmacro %}

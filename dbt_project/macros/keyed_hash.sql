{#
    A 32-character pseudonym that cannot be computed, or guessed by trying, without the identity key. The key is
    read from its file when the statement runs: it stands in no compiled SQL, no log and no table.
#}
{% macro keyed_hash(expression) -%}
    {%- set key -%}
        (select hex(content) from read_blob('{{ env_var("LETTERPRESS_IDENTITY_KEY_FILE") | replace("'", "''") }}'))
    {%- endset -%}
    left(sha256({{ key }} || sha256({{ key }} || {{ expression }})), 32)
{%- endmacro %}

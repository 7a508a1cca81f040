{# An address as an identifier that may stand in published tables: a keyed hash of its normalised form. #}
{% macro email_identifier(normalised_email) -%}
    'email:' || {{ keyed_hash(normalised_email) }}
{%- endmacro %}

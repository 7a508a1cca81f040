{#
    What the name of a country is looked up by: lower case, without dots, commas and a leading "the", so that U.S.A.,
    usa and "The Netherlands" are found however they are typed.
#}
{% macro country_key(expression) -%}
    {%- set plain = tidy_text(plain_signs(expression)) -%}
    {{ every_match_replaced('lower(' ~ plain ~ ')', '^the |[.,]', '') }}
{%- endmacro %}

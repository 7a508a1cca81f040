{#
    An e-mail address as mail is sent to it: plain signs, composed, lower case, without what people and programs write
    around it (blanks, quotes, "Ann <ann@example.com>", "mailto:…?subject=…", a dot or comma at the end); null where
    empty. Nothing inside of an address is mended: what is invalid stays so. Nearly every address is plain already and
    passes by one comparison.
#}
{% macro sendable_email(expression) -%}
    {%- set tidy = 'lower(' ~ tidy_text(plain_signs(expression)) ~ ')' -%}
    {%- set bracketed = every_match_replaced(tidy, "^.*<([^<>]*)>[^<>]*$|^''([^'']+)''$", '\\1\\2') -%}
    {%- set around = '^[ "<(]*(mailto:)?[ "<(]*|[?](subject|body|cc|bcc)=.*$|[ ">).,;]+$' -%}
    case
        when {{ is_plain_email(expression) }} then {{ expression }}
        else nullif({{ every_match_replaced(bracketed, around, '') }}, '')
    end
{%- endmacro %}

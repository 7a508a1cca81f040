{#
    A telephone number as its digits, behind a plus sign where one was written before them; null where the text is no
    number, such as "n/a", "call me" or 0800-FLOWERS. A label before it ("Tel: ") and an extension behind it
    ("ext. 12", which E.164 has no place for) are dropped; they are the variables phone_labels and
    phone_extension_words. Digits of other scripts count as what they mean.
#}
{% macro phone_text(expression) -%}
    {%- set scripts = '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९০১২৩৪৫৬৭৮৯๐๑๒๓๔๕๖๗๘๙' -%}
    {%- set dashes = '‐‑‒–—―−' -%}
    {%- set tidy = 'lower(' ~ tidy_text(plain_signs(expression)) ~ ')' -%}
    {%- set written -%}
        case
            when {{ is_ascii(expression) }} then lower(trim({{ expression }}))
            else translate(
                {{ tidy }}, '{{ scripts }}{{ dashes }}', '{{ "0123456789" * 5 }}{{ "-" * (dashes | length) }}'
            )
        end
    {%- endset -%}
    {%- set label = '^(' ~ var('phone_labels') | join('|') ~ ')[.:]* *' -%}
    {%- set extension = '[ ,;]*(' ~ var('phone_extension_words') | join('|') ~ ')[.:= ]*[0-9]+$' -%}
    {%- set number = every_match_replaced(written, label ~ '|' ~ extension, '') -%}
    case
        when {{ matches(number, '^[ (]*[+]?[-0-9 ()./]*[0-9][-0-9 ()./]*$') }}
            then {{ every_match_replaced(number, '[-() ./]', '') }}
    end
{%- endmacro %}

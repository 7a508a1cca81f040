{#
    A text in the signs that a keyboard has: full-width letters, digits and punctuation (U+FF01 to U+FF5E, as Japanese
    and Chinese keyboards type them) as the plain ones, the ideographic full stop as a dot, and without signs that
    nobody sees (zero-width blanks and joiners, marks of direction, soft hyphens). Of Unicode's compatibility forms
    only these: the rest (ligatures, superscripts) are no way to type a name or an address.
#}
{% macro plain_signs(expression) -%}
    {%- set wide = '！＂＃＄％＆＇（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［＼］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～。｡' -%}
    {%- set plain = "!\"#$%&''()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~.." -%}
    {%- set unseen = '\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff' -%}
    case
        when {{ matches(expression, '[！-～。｡' ~ unseen ~ ']') }}
            then translate({{ expression }}, '{{ wide }}{{ unseen }}', '{{ plain }}')
        else {{ expression }}
    end
{%- endmacro %}

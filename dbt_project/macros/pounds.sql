{#
    Money of another currency in pounds. Orders are rounded to pence, so that what adds up or cancels out in one
    currency still does in the other.
#}
{% macro pounds(amount, units_per_pound, digits=2) -%}
    {{ money('round(' ~ amount ~ ' / ' ~ units_per_pound ~ ', ' ~ digits ~ ')') }}
{%- endmacro %}

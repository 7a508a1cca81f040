{#
    Money of another currency in pounds. Orders are rounded to pence, so that what adds up or cancels out in one
    currency still does in the other. Divided as doubles, for decimals divide differently on every engine.
#}
{% macro pounds(amount, units_per_pound, digits=2) -%}
    {%- set quotient -%}
        cast({{ amount }} as {{ double() }}) / cast({{ units_per_pound }} as {{ double() }})
    {%- endset -%}
    {{ money(rounded(quotient, digits)) }}
{%- endmacro %}

{#
    A day of birth as a person of the given country writes it, as a date: 1980-5-3, 3.5.1980, 5 Mar 1980, and
    03/05/1980, whose month stands first in the countries of the variable month_first_countries. Null where it is
    none, where it lies before earliest_birth_date (a year of two digits), and where the country is unknown and the
    two ways to read it differ: a guess would be wrong half of the time.
#}
{% macro birth_date_or_null(text, country_code) -%}
    {%- set formats = ['%Y-%m-%d', '%d.%m.%Y', '%d %b %Y', '%d %B %Y'] -%}
    {%- set day_first = date_or_null(text, formats + ['%d/%m/%Y']) -%}
    {%- set month_first = date_or_null(text, formats + ['%m/%d/%Y']) -%}
    {%- set found -%}
        case
            when {{ country_code }} in ({{ quoted(var('month_first_countries')) }}) then {{ month_first }}
            when {{ country_code }} is not null then {{ day_first }}
            when coalesce({{ day_first }} = {{ month_first }}, true) then coalesce({{ day_first }}, {{ month_first }})
        end
    {%- endset -%}
    case when {{ found }} >= cast('{{ var("earliest_birth_date") }}' as date) then {{ found }} end
{%- endmacro %}

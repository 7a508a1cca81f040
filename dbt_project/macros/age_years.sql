{# Full years from a day of birth to an instant. #}
{% macro age_years(birth_date, instant) -%}
    {%- set today = utc_date(instant) -%}
    cast(
        floor(
            (
                extract(year from {{ today }}) * 10000
                + extract(month from {{ today }}) * 100
                + extract(day from {{ today }})
                - extract(year from {{ birth_date }}) * 10000
                - extract(month from {{ birth_date }}) * 100
                - extract(day from {{ birth_date }})
            ) / 10000.0
        ) as bigint
    )
{%- endmacro %}

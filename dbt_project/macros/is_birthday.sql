{#
    Whether a person has a birthday on the UTC day of an instant. Who was born on 29 February has it on 1 March where
    the year has no such day, as age_years counts.
#}
{% macro is_birthday(birth_date, instant) -%}
    {%- set today = utc_date(instant) -%}
    {%- set year = 'cast(extract(year from ' ~ today ~ ') as integer)' -%}
    (
        (
            extract(month from {{ birth_date }}) = extract(month from {{ today }})
            and extract(day from {{ birth_date }}) = extract(day from {{ today }})
        )
        or (
            extract(month from {{ birth_date }}) = 2
            and extract(day from {{ birth_date }}) = 29
            and extract(month from {{ today }}) = 3
            and extract(day from {{ today }}) = 1
            and (mod({{ year }}, 4) <> 0 or (mod({{ year }}, 100) = 0 and mod({{ year }}, 400) <> 0))
        )
    )
{%- endmacro %}

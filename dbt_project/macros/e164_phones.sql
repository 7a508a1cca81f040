{#
    Every telephone number of a relation with what it is in E.164: one row per text and country, `phone` is null where
    it is no number or could be two. Rules, in their order:
    1. +44 20 7946 0018, or the country's own prefix for calls abroad (0044 …; 011 44 … in the US): the calling code
       says which country; a trunk prefix behind it, as in +44 (0)20 …, is dropped.
    2. 020 7946 0018 from an account whose country is known: the trunk prefix is dropped. Spreadsheets eat the 0, so
       that a number counts without it where it cannot lack its area code: it has the country's full length, or all
       numbers there have about the same.
    3. 44 20 7946 0018 from such an account: the plus sign was forgotten. What also fits rule 2 is null.
    A number without plus sign of an account without country is null: a guess would call a stranger.

    relation: has the columns `text` and `country_code`.
#}
{% macro e164_phones(relation, text, country_code) -%}
    {%- set query -%}
        with written as (
            select distinct
                {{ text }} as phone_as_given,
                coalesce({{ country_code }}, '') as country_code,
                {{ phone_text(text) }} as digits
            from {{ relation }}
            where {{ text }} is not null
        ),

        plans as (
            select
                country_code,
                calling_code,
                coalesce(trunk_prefix, '') as trunk_prefix,
                coalesce(international_prefix, '') as international_prefix,
                national_min_length,
                national_max_length,
                first_digits,
                needs_trunk_prefix,
                is_main_of_calling_code
            from {{ ref('countries') }}
            where calling_code is not null
        ),

        dialled as (
            select
                written.phone_as_given,
                written.country_code,
                home.calling_code as home_code,
                case
                    when written.digits like '+%' then substr(written.digits, 2)
                    when
                        home.international_prefix <> ''
                        and left(written.digits, length(home.international_prefix)) = home.international_prefix
                        then substr(written.digits, length(home.international_prefix) + 1)
                end as international_digits,
                case
                    when
                        not home.needs_trunk_prefix
                        or left(written.digits, length(home.trunk_prefix)) = home.trunk_prefix
                        or length(written.digits) = home.national_max_length
                        then {{ national_number('written.digits', 'home') }}
                end as home_number,
                case
                    when left(written.digits, length(home.calling_code)) = home.calling_code
                        then {{ national_number('substr(written.digits, length(home.calling_code) + 1)', 'home') }}
                end as number_behind_code,
                left(written.digits, length(home.trunk_prefix)) = home.trunk_prefix and home.trunk_prefix <> ''
                    as has_trunk_prefix
            from written
            left join plans as home on written.country_code = home.country_code
            where written.digits is not null
        ),

        -- Numbers begin in few ways, so that each is looked up once: calling codes have one digit to three.
        beginnings as (
            select distinct left(international_digits, 3) as beginning
            from dialled
            where international_digits is not null
        ),

        codes as (
            select
                beginnings.beginning,
                plans.*
            from beginnings
            inner join plans
                on
                    left(beginnings.beginning, length(plans.calling_code)) = plans.calling_code
                    and plans.is_main_of_calling_code
        )

        select
            dialled.phone_as_given,
            dialled.country_code,
            case
                when dialled.international_digits is not null
                    then
                        '+' || codes.calling_code
                        || {{ national_number(
                            'substr(dialled.international_digits, length(codes.calling_code) + 1)', 'codes'
                        ) }}
                when dialled.home_number is null then '+' || dialled.home_code || dialled.number_behind_code
                when dialled.number_behind_code is null or dialled.has_trunk_prefix
                    then '+' || dialled.home_code || dialled.home_number
            end as phone
        from dialled
        left join codes on left(dialled.international_digits, 3) = codes.beginning
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}

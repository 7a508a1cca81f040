-- What the dbt project needs of a PostgreSQL database beside the landed rows: the functions by which its macros
-- (postgres__… in dbt_project/macros) mean the same as DuckDB's. Run again, it replaces them.

create schema if not exists landing;

create table if not exists landing.files (
    file_id bigint generated always as identity primary key,
    uri text not null unique,
    source text not null,
    entity text not null,
    load_sequence bigint not null,
    loaded_at timestamptz,
    row_count bigint not null,
    content_hash text
);

-- The identity key in hexadecimal digits: whoever may read it can compute pseudonyms.
create table if not exists landing.identity_key (
    key_hex text not null,
    is_single boolean primary key default true check (is_single)
);

create or replace function landing.keyed_hash(given text, key_hex text) returns text
language sql immutable parallel safe as $$
    select left(encode(sha256(convert_to(
        key_hex || encode(sha256(convert_to(key_hex || given, 'UTF8')), 'hex'), 'UTF8'
    )), 'hex'), 32)
$$;

-- What catches an error cannot run in parallel. Volatile, although it is not: the planner would else parse once for each of a row's many json_text.
create or replace function landing.parsed_json(given text) returns jsonb
language plpgsql volatile parallel unsafe as $$
begin
    return given::jsonb;
exception when others then
    return null;
end
$$;

create or replace function landing.number_or_null(given text) returns double precision
language plpgsql immutable parallel unsafe as $$
begin
    if given !~* '^\s*[+-]?(([0-9](_?[0-9])*[.]?([0-9](_?[0-9])*)?|[.][0-9](_?[0-9])*)(e[+-]?[0-9]+)?|nan|inf|infinity)\s*$'
    then
        return null;
    end if;
    return replace(given, '_', '')::double precision;
exception when numeric_value_out_of_range then
    return case
        when given ~* 'e-' then 0
        when given ~ '^\s*-' then '-Infinity'::double precision
        else 'Infinity'::double precision
    end;
end
$$;

-- strptime: blanks around it do not matter, a blank of the format is one or more, names in any case, numbers
-- with or without leading zeros.
create or replace function landing.date_or_null(given text, formats text[]) returns date
language plpgsql immutable parallel unsafe as $$
declare
    format text;
    names text[] := array['january', 'february', 'march', 'april', 'may', 'june', 'july', 'august', 'september',
        'october', 'november', 'december'];
    short_names text[] := array['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
    pattern text;
    parts text[];
    found text[];
    number integer[];
begin
    if given is null then
        return null;
    end if;
    foreach format in array formats loop
        select array_agg(part[1] order by position) into parts
        from regexp_matches(format, '%([YmdbB])', 'g') with ordinality as matched (part, position);
        pattern := regexp_replace(format, '([.\\+*?()|{}^$\[\]])', '\\\1', 'g');
        pattern := regexp_replace(pattern, '\s+', '\\s+', 'g');
        pattern := replace(pattern, '%Y', '([0-9]{1,4})');
        pattern := regexp_replace(pattern, '%[md]', '([0-9]{1,2})', 'g');
        pattern := replace(pattern, '%b', '(' || array_to_string(short_names, '|') || ')');
        pattern := replace(pattern, '%B', '(' || array_to_string(names, '|') || ')');
        found := regexp_match(lower(given), '^\s*' || pattern || '\s*$');
        continue when found is null;
        number := array[null, null, null];
        for part in 1 .. array_length(parts, 1) loop
            if parts[part] = 'Y' then
                number[1] := found[part];
            elsif parts[part] = 'm' then
                number[2] := found[part];
            elsif parts[part] = 'd' then
                number[3] := found[part];
            elsif parts[part] = 'b' then
                number[2] := array_position(short_names, found[part]);
            else
                number[2] := array_position(names, found[part]);
            end if;
        end loop;
        begin
            return make_date(number[1], number[2], number[3]);
        exception when others then
            null;
        end;
    end loop;
    return null;
end
$$;

-- A half is rounded away from zero, and a double is multiplied, rounded and divided, as DuckDB does it.
create or replace function landing.rounded(given double precision, digits integer) returns double precision
language sql immutable parallel safe as $$
    select (
        trunc(given * 10::double precision ^ digits)
        + case
            when abs(given * 10::double precision ^ digits - trunc(given * 10::double precision ^ digits)) >= 0.5
                then sign(given)
            else 0
        end
    ) / 10::double precision ^ digits
$$;

create or replace function landing.rounded(given numeric, digits integer) returns numeric
language sql immutable parallel safe as $$
    select round(given, digits)
$$;

/*
The warehouse by hand: from the landed Parquet of the demo shop's sources straight to the tables that dbt builds of
them, in plain DuckDB and written for speed. Nothing is staged that is used once, no column is read that nobody needs,
what repeats (addresses, names, currencies, time zones) is cleaned once, bots and copies leave the events before they
are grouped, and temporary tables go as soon as they can. What it gives up for that: it can only be run whole, tests
nothing, and knows no other source. `warehouse.py` sets the variables that it reads:

    landed    the folder of <source>__<entity>-<load>.parquet     seeds     the folder of dbt's seeds
    as_of     the instant up to which things have happened        key_file  the identity key

Thresholds are those of `dbt_project.yml` at the time of writing; where one of the two changes, the benchmark fails.
*/

create schema marts;
create schema features;

set variable as_of = getvariable('as_of')::timestamptz;
set variable key_hex = (select hex(content) from read_blob(getvariable('key_file')));
set variable zone_day = (getvariable('as_of') at time zone 'UTC')::date;

---------------------------------------------------------------------------------------------------------- macros --

create temp macro landed(name) as table
    from read_parquet(getvariable('landed') || '/' || name || '-*.parquet', filename = true, file_row_number = true,
        union_by_name = true);

create temp macro load_of(file) as regexp_extract(file, '-([0-9]+)[.]parquet$', 1)::bigint;

create temp macro keyed_hash(text) as
    left(sha256(getvariable('key_hex') || sha256(getvariable('key_hex') || text)), 32);

create temp macro days_before(instant) as
    floor((epoch(getvariable('as_of')) - epoch(instant)) / 86400.0)::bigint;

create temp macro hours_before(instant) as
    floor((epoch(getvariable('as_of')) - epoch(instant)) / 3600.0)::bigint;

create temp macro utc_day(instant) as (instant at time zone 'UTC')::date;

create temp macro month_of(day) as extract(year from day) * 12 + extract(month from day);

create temp macro share(part, whole) as part::double / nullif(whole, 0);

create temp macro rounded_money(amount) as round(amount, 2)::double;

create temp macro row_key(id, row_hash) as
    case when coalesce(regexp_matches(id, '^[A-Za-z0-9_.:/-]+$'), false) then id else 'hash:' || row_hash end;

set variable wide_signs = (
    select string_agg(chr(sign::int), '' order by sign) from range(65281, 65375) as signs (sign)
) || '｡' || (
    select string_agg(chr(sign), '' order by position)
    from (
        select unnest([173, 1564, 6158, 8203, 8204, 8205, 8206, 8207, 8234, 8235, 8236, 8237, 8238, 8288, 8294, 8295,
            8296, 8297, 65279]) as sign, generate_subscripts([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
            17, 18, 19], 1) as position
    )
);
set variable plain_signs = (
    select string_agg(chr(sign::int), '' order by sign) from range(33, 127) as signs (sign)
) || '.';

create temp macro plain(text) as
    case
        when coalesce(regexp_matches(text, '[\x{FF01}-\x{FF5E}\x{FF61}\x{AD}\x{61C}\x{180E}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}\x{2066}-\x{2069}\x{FEFF}]'), false)
            then translate(text, getvariable('wide_signs'), getvariable('plain_signs'))
        else text
    end;

create temp macro tidy(text) as
    nullif(trim(regexp_replace(nfc_normalize(text), '[[:space:]\p{Z}]+', ' ', 'g')), '');

create temp macro is_plain_email(text) as
    coalesce(regexp_matches(text, '^[a-z0-9_-]+([.][a-z0-9_-]+)*@[a-z0-9-]+([.][a-z0-9-]+)+$'), false);

create temp macro sendable(text) as
    case
        when is_plain_email(text) then text
        else nullif(regexp_replace(regexp_replace(lower(tidy(plain(text))), '^.*<([^<>]*)>[^<>]*$|^''([^'']+)''$', '\1\2', 'g'), '^[ "<(]*(mailto:)?[ "<(]*|[?](subject|body|cc|bcc)=.*$|[ ">).,;]+$', '', 'g'), '')
    end;

create temp macro without_tag(address) as regexp_replace(address, '^([^+@]+)[+][^@]*@', '\1@', 'g');

create temp macro normalised(text) as
    case when is_plain_email(text) then text else without_tag(sendable(text)) end;

create temp macro is_valid_email(address) as
    coalesce(regexp_matches(address, '^[^[:space:]\p{Z}\p{C}<>"(),:;\\@]+@[^[:space:]\p{Z}\p{C}<>"(),:;\\@.]+([.][^[:space:]\p{Z}\p{C}<>"(),:;\\@.]+)*[.][^[:space:]\p{Z}\p{C}<>"(),:;\\@.]{2,}$'), false);

create temp macro country_key(text) as regexp_replace(lower(tidy(plain(text))), '^the |[.,]', '', 'g');

create temp macro untitled(text) as
    case
        when coalesce(regexp_matches(text, '^[^[:space:]\p{Z}.]*$'), false)
            then case when text not in ('Mr', 'MR', 'mr', 'Mrs', 'MRS', 'mrs', 'Ms', 'MS', 'ms', 'Miss', 'MISS', 'miss', 'Mx', 'MX', 'mx', 'Dr', 'DR', 'dr', 'Prof', 'PROF', 'prof', 'Herr', 'HERR', 'herr', 'Frau', 'FRAU', 'frau', 'Mme', 'MME', 'mme', 'Mlle', 'MLLE', 'mlle', 'Sr', 'SR', 'sr', 'Sra', 'SRA', 'sra') then tidy(plain(text)) end
        else regexp_replace(tidy(plain(text)), '^((Mr|MR|mr|Mrs|MRS|mrs|Ms|MS|ms|Miss|MISS|miss|Mx|MX|mx|Dr|DR|dr|Prof|PROF|prof|Herr|HERR|herr|Frau|FRAU|frau|Mme|MME|mme|Mlle|MLLE|mlle|Sr|SR|sr|Sra|SRA|sra)([.] *| |$))+', '', 'g')
    end;

create temp macro capitalised(text) as
    list_aggregate(
        list_transform(
            regexp_extract_all(regexp_replace(lower(text), '(^|[- ])mc([a-z])', '\1mc|\2', 'g'), '[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]'),
            lambda part: upper(part[1]) || part[2:]
        ),
        'string_agg', ''
    );

create temp macro small_particles(text) as
    trim(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(text, ' De La ', ' de la '), ' De Las ', ' de las '), ' De Los ', ' de los '), ' Van ', ' van '), ' Von ', ' von '), ' Vom ', ' vom '), ' Den ', ' den '), ' Der ', ' der '), ' De ', ' de '), ' Di ', ' di '), ' Da ', ' da '), ' Do ', ' do '), ' Dos ', ' dos '), ' Das ', ' das '), ' Du ', ' du '), ' Del ', ' del '), ' Della ', ' della '), ' Ter ', ' ter '), ' Ten ', ' ten '), ' Te ', ' te '), ' Zu ', ' zu '), ' Zur ', ' zur '), ' Af ', ' af '), ' Av ', ' av '), ' Bin ', ' bin '), ' Ibn ', ' ibn '));

create temp macro person_name(text, keeps_initials) as
    case
        when lower(text) in ('', '-', '--', '---', '.', '..', '?', 'n/a', 'n.a.', 'none', 'null', 'nil', 'undefined', 'unknown', 'test') then null
        when coalesce(regexp_matches(text, '[@<>{}|%#=*_\\]|://|[0-9]{3}|[Ww][Ww][Ww][.]'), false) then null
        when keeps_initials and length(text) <= 2 and text = upper(text) then text
        when text = upper(text) or text = lower(text) then small_particles(' ' || replace(capitalised(text), '|', ''))
        else text
    end;

create temp macro day_first(text) as
    try_strptime(text, ['%Y-%m-%d', '%d.%m.%Y', '%d %b %Y', '%d %B %Y', '%d/%m/%Y'])::date;

create temp macro month_first(text) as
    try_strptime(text, ['%Y-%m-%d', '%d.%m.%Y', '%d %b %Y', '%d %B %Y', '%m/%d/%Y'])::date;

create temp macro birth_date(text, country) as
    case
        when country = 'US' then month_first(text)
        when country is not null then day_first(text)
        when coalesce(day_first(text) = month_first(text), true) then coalesce(day_first(text), month_first(text))
    end;

create temp macro phone_digits(text) as
    case
        when coalesce(regexp_matches(text, '^[ (]*[+]?[-0-9 ()./]*[0-9][-0-9 ()./]*$'), false)
            then regexp_replace(text, '[-() ./]', '', 'g')
    end;

create temp macro phone_text(text) as
    regexp_replace(
        case
            when coalesce(regexp_matches(text, '^[ -~]*$'), false) then lower(trim(text))
            else translate(lower(tidy(plain(text))), '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९০১২৩৪৫৬৭৮৯๐๑๒๓๔๕๖๗๘๙‐‑‒–—―−', '01234567890123456789012345678901234567890123456789-------')
        end,
        '^(tel|telephone|telefon|phone|mobile|mob|cell)[.:]* *|[ ,;]*(extension|extn|ext|durchwahl|poste|anexo|x|#)[.:= ]*[0-9]+$', '', 'g'
    );

create temp macro fits(number, least, most, first_digits) as
    length(number) between least and most
    and contains(first_digits, left(number, 1))
    and replace(number, left(number, 1), '') <> '';

create temp macro national_number(number, trunk, least, most, first_digits) as
    case
        when starts_with(number, trunk) and fits(substr(number, length(trunk) + 1), least, most, first_digits)
            then substr(number, length(trunk) + 1)
        when fits(number, least, most, first_digits) then number
    end;

---------------------------------------------------------------------------------------------------- web events --

-- Copies are rare: hashes of what makes two events one are grouped, and only rows that share one are compared.
create temp macro web_events() as table
    select
        message_id,
        anonymous_id,
        user_id,
        case type when 'page' then 'Page Viewed' when 'identify' then 'Identified' else event end as event_name,
        type,
        timestamp,
        received_at,
        -- A device whose clock cannot be right is not asked for the time.
        case
            when
                epoch_us(timestamp) - epoch_us(received_at) > 5 * 60000000::bigint
                or epoch_us(received_at) - epoch_us(timestamp) > 30 * 86400000000::bigint
                then received_at
            else timestamp
        end as occurred_at,
        coalesce(
            message_id is not null
            and timestamp is not null
            and (anonymous_id is not null or user_id is not null)
            and (type in ('page', 'identify') or event is not null),
            false
        ) as is_usable,
        context,
        properties,
        _row_hash,
        filename,
        file_row_number
    from landed('web__events');

create temp table web_suspects as
select hash(message_id) as suspect
from web_events()
where is_usable
group by all
having count(*) > 1
union all
select hash(timestamp, anonymous_id, user_id, event_name) as suspect
from web_events()
where is_usable
group by all
having count(*) > 1;

create temp table web_copies as
with suspected as (
    select
        *,
        load_of(filename) as load,
        row_number() over (partition by message_id order by load, file_row_number) as key_number
    from web_events()
    where
        is_usable
        and (
            hash(message_id) in (from web_suspects)
            or hash(timestamp, anonymous_id, user_id, event_name) in (from web_suspects)
        )
)
select
    filename,
    file_row_number,
    occurred_at > getvariable('as_of') as is_later
from suspected
where key_number > 1
union all
select
    filename,
    file_row_number,
    occurred_at > getvariable('as_of') as is_later
from (
    select
        *,
        row_number() over (
            partition by
                timestamp, anonymous_id, user_id, event_name,
                json_extract_string(try_cast(properties as json), '$.path'),
                json_extract_string(try_cast(properties as json), '$.product_id'),
                json_extract_string(try_cast(properties as json), '$.order_id'),
                try_cast(json_extract_string(try_cast(properties as json), '$.price') as double),
                try_cast(json_extract_string(try_cast(properties as json), '$.quantity') as double)
            order by load, file_row_number
        ) as content_number
    from suspected
    where key_number = 1
)
where content_number > 1;

drop table web_suspects;

create temp table web_refused as
select
    case
        when is_usable then null
        when message_id is null then 'missing_key'
        when timestamp is null then 'missing_time'
        when anonymous_id is null and user_id is null then 'missing_visitor'
        else 'missing_event'
    end as reason,
    row_key(message_id, _row_hash) as row_key,
    occurred_at,
    load_of(filename) as load,
    coalesce(occurred_at > getvariable('as_of'), false) as is_later
from web_events()
where not is_usable or occurred_at > getvariable('as_of');

-- The one pass over the events: half hours of a device, an account and a program, which is all that sessions, sign-ins
-- and devices need.
create temp table spans as
with used as (
    select
        anonymous_id,
        user_id,
        event_name,
        type,
        occurred_at,
        try(json_extract_string(context, ['$.userAgent', '$.timezone', '$.campaign'])) as texts
    from web_events()
    anti join web_copies using (filename, file_row_number)
    where is_usable and occurred_at <= getvariable('as_of')
),

-- Few events have a campaign, so that its parts are read of those alone: led by their instant as text, the least of
-- them is the earliest.
read as (
    select
        *,
        json_extract_string(texts[3], ['$.source', '$.medium', '$.name']) as campaign,
        case
            when campaign[1] is not null or campaign[3] is not null
                then lpad(epoch_us(occurred_at)::varchar, 20, '0') || chr(31) || concat_ws(
                    chr(31), coalesce(campaign[1], ''), coalesce(campaign[2], ''), coalesce(campaign[3], '')
                )
        end as touch
    from used
)

select
    anonymous_id,
    user_id,
    texts[1] as user_agent,
    epoch_us(occurred_at) // 1800000000 as bucket,
    max(texts[2]) as time_zone,
    min(touch) as first_touch,
    max(touch) as last_touch,
    count(*) as event_count,
    count(*) filter (type = 'page') as page_view_count,
    count(*) filter (event_name = 'Product Viewed') as product_view_count,
    count(*) filter (event_name = 'Product Added') as cart_addition_count,
    count(*) filter (event_name = 'Checkout Started') as checkout_count,
    count(*) filter (event_name = 'Order Completed') as order_count,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    max(occurred_at) filter (event_name = 'Product Viewed') as last_product_viewed_at,
    max(occurred_at) filter (event_name = 'Product Added') as last_cart_added_at,
    max(occurred_at) filter (event_name = 'Checkout Started') as last_checkout_started_at
from read
group by all;

create temp table agents as
with listed as (
    select distinct user_agent from spans where user_agent is not null
),

bots as (
    select distinct listed.user_agent
    from listed
    inner join read_csv(getvariable('seeds') || '/bot_user_agents.csv', all_varchar = true) as bots
        on contains(lower(listed.user_agent), bots.pattern)
)

select
    listed.user_agent,
    coalesce(arg_min(devices.device_type, devices.priority::bigint), 'desktop') as device_type,
    bool_or(bots.user_agent is not null) as is_bot
from listed
left join bots using (user_agent)
left join read_csv(getvariable('seeds') || '/device_user_agents.csv', all_varchar = true) as devices
    on contains(lower(listed.user_agent), devices.pattern)
group by listed.user_agent;

-- Each event of a bot is put into quarantine, so that they are read again: of nearly all of these devices without the
-- context, for nothing but the bot has been seen on them.
create temp table bot_visitors as
select
    coalesce(anonymous_id, user_id) as visitor,
    bool_and(coalesce(agents.is_bot, false)) as is_bot_alone
from spans
left join agents using (user_agent)
group by visitor
having bool_or(agents.is_bot);

create temp table bot_events as
with mixed as materialized (
    select message_id, occurred_at, filename, context
    from web_events()
    anti join web_copies using (filename, file_row_number)
    where
        is_usable
        and occurred_at <= getvariable('as_of')
        and coalesce(anonymous_id, user_id) in (select visitor from bot_visitors where not is_bot_alone)
)
select message_id, occurred_at, load_of(filename) as load
from web_events()
anti join web_copies using (filename, file_row_number)
where
    is_usable
    and occurred_at <= getvariable('as_of')
    and coalesce(anonymous_id, user_id) in (select visitor from bot_visitors where is_bot_alone)
union all
select message_id, occurred_at, load_of(filename)
from mixed
where try(json_extract_string(context, '$.userAgent')) in (select user_agent from agents where is_bot);

drop table bot_visitors;

delete from spans where user_agent in (select user_agent from agents where is_bot);

create temp table logins as
select
    anonymous_id,
    user_id as shop_customer_id,
    'shop:' || user_id as source_customer_key,
    min(started_at) as first_seen_at
from spans
where anonymous_id is not null and user_id is not null
group by anonymous_id, user_id;

------------------------------------------------------------------------------------------------ customers, orders --

-- Addresses come again and again, so that each is cleaned once.
create temp table addresses as
select
    email,
    sendable(email) as sendable_email,
    normalised(email) as normalised_email
from (
    select distinct email
    from (select email from landed('crm__customers') union all select email from landed('shop__orders'))
    where email is not null
);

alter table addresses add column is_email_valid boolean;
update addresses set is_email_valid = is_valid_email(normalised_email);

create temp table customers_refused as
select
    row_key(customer_id, _row_hash) as row_key,
    case
        when customer_id is null then 'missing_key'
        when updated_at is null or signed_up_at is null then 'missing_time'
    end as reason,
    coalesce(updated_at > getvariable('as_of'), false) as is_later,
    updated_at as event_at,
    load_of(filename) as load
from landed('crm__customers')
where customer_id is null or updated_at is null or signed_up_at is null or updated_at > getvariable('as_of');

-- Only the version of an account that counts is cleaned.
create temp table versions as
select
    customer_id as shop_customer_id,
    email,
    phone,
    first_name,
    last_name,
    country_code as country_as_given,
    time_zone,
    preferences,
    loyalty_tier,
    birth_date,
    signed_up_at,
    updated_at
from landed('crm__customers')
where customer_id is not null and signed_up_at is not null and updated_at <= getvariable('as_of')
qualify row_number() over (
    partition by customer_id order by updated_at desc, load_of(filename) desc, _row_hash
) = 1;

create temp table countries as
with given as (
    select distinct country_as_given, country_key(country_as_given) as country_key from versions
)
select
    given.country_as_given,
    names.country_code
from given
inner join read_csv(getvariable('seeds') || '/country_names.csv', all_varchar = true) as names
    on given.country_key = country_key(names.country_name);

create temp table first_names as
select name as first_name, person_name(untitled(name), true) as cleaned
from (select distinct first_name as name from versions);

create temp table last_names as
select name as last_name, person_name(tidy(plain(name)), false) as cleaned
from (select distinct last_name as name from versions);

create temp table zones as
select time_zone, tidy(time_zone) as cleaned
from (select distinct time_zone from versions);

create temp table phones as
with plans as (
    select
        country_code,
        calling_code,
        coalesce(trunk_prefix, '') as trunk,
        coalesce(international_prefix, '') as abroad,
        national_min_length::bigint as least,
        national_max_length::bigint as most,
        first_digits,
        needs_trunk_prefix::boolean as needs_trunk,
        is_main_of_calling_code::boolean as is_main
    from read_csv(getvariable('seeds') || '/countries.csv', all_varchar = true)
    where calling_code is not null
),

written as (
    select distinct
        versions.phone,
        coalesce(countries.country_code, '') as country_code,
        phone_digits(phone_text(versions.phone)) as digits
    from versions
    left join countries using (country_as_given)
    where versions.phone is not null
),

dialled as (
    select
        written.phone,
        written.country_code,
        home.calling_code as home_code,
        case
            when starts_with(digits, '+') then substr(digits, 2)
            when home.abroad <> '' and starts_with(digits, home.abroad) then substr(digits, length(home.abroad) + 1)
        end as international,
        case
            when not home.needs_trunk or starts_with(digits, home.trunk) or length(digits) = home.most
                then national_number(digits, home.trunk, home.least, home.most, home.first_digits)
        end as home_number,
        case
            when starts_with(digits, home.calling_code)
                then national_number(
                    substr(digits, length(home.calling_code) + 1), home.trunk, home.least, home.most, home.first_digits
                )
        end as number_behind_code,
        starts_with(digits, home.trunk) and home.trunk <> '' as has_trunk
    from written
    left join plans as home using (country_code)
    where digits is not null
),

codes as (
    select
        beginnings.beginning,
        plans.*
    from (select distinct left(international, 3) as beginning from dialled) as beginnings
    inner join plans on starts_with(beginnings.beginning, plans.calling_code) and plans.is_main
)

select
    dialled.phone,
    dialled.country_code,
    case
        when international is not null
            then '+' || codes.calling_code || national_number(
                substr(international, length(codes.calling_code) + 1),
                codes.trunk, codes.least, codes.most, codes.first_digits
            )
        when home_number is null then '+' || home_code || number_behind_code
        when number_behind_code is null or has_trunk then '+' || home_code || home_number
    end as cleaned
from dialled
left join codes on left(dialled.international, 3) = codes.beginning;

create temp table customers as
select
    versions.shop_customer_id,
    'shop:' || versions.shop_customer_id as source_customer_key,
    addresses.sendable_email,
    addresses.normalised_email,
    coalesce(addresses.is_email_valid, false) as is_email_valid,
    phones.cleaned as phone,
    first_names.cleaned as first_name,
    last_names.cleaned as last_name,
    countries.country_code,
    zones.cleaned as time_zone,
    versions.preferences,
    versions.loyalty_tier,
    case when birth_date(tidy(versions.birth_date), countries.country_code) >= date '1900-01-01'
        then birth_date(tidy(versions.birth_date), countries.country_code)
    end as birth_date,
    versions.signed_up_at,
    versions.updated_at
from versions
left join addresses using (email)
left join countries using (country_as_given)
left join first_names using (first_name)
left join last_names using (last_name)
left join zones using (time_zone)
left join phones
    on versions.phone = phones.phone and coalesce(countries.country_code, '') = phones.country_code;

set variable customer_count = (select count(*) from versions);
drop table versions;
drop table phones;

create temp table currencies as
with rates as (
    select
        currency,
        units_per_pound::decimal(18, 6) as units_per_pound,
        valid_from::date as valid_from,
        lead(valid_from::date) over (partition by currency order by valid_from::date) as next_valid_from
    from read_csv(getvariable('seeds') || '/exchange_rates.csv', all_varchar = true)
)
select
    given.currency as currency_as_given,
    given.cleaned as currency,
    rates.units_per_pound,
    rates.valid_from,
    coalesce(rates.next_valid_from, date '9999-12-31') as next_valid_from
from (
    select currency, upper(tidy(currency)) as cleaned from (select distinct currency from landed('shop__orders'))
) as given
inner join rates on given.cleaned = rates.currency;

create temp table order_rows as
select
    orders.order_id,
    orders.customer_id,
    load_of(orders.filename) as load,
    case
        when order_id is null then 'missing_key'
        when ordered_at is null or updated_at is null then 'missing_time'
        when total_amount::decimal(18, 4) is null then 'missing_amount'
        when total_amount::decimal(18, 4) < 0 then 'negative_amount'
        when tests.email is not null then 'test_order'
        when rates.units_per_pound is null then 'unknown_currency'
    end as reason,
    order_id is not null and coalesce(greatest(ordered_at, updated_at) > getvariable('as_of'), false) as is_later,
    orders.email,
    orders.status,
    rates.currency,
    orders.total_amount,
    rates.units_per_pound,
    orders.ordered_at,
    greatest(ordered_at, updated_at) as known_at,
    _row_hash
from landed('shop__orders') as orders
left join (select email from addresses where normalised_email = 'test@example.com') as tests using (email)
left join currencies as rates
    on
        orders.currency = rates.currency_as_given
        and utc_day(orders.ordered_at) >= rates.valid_from
        and utc_day(orders.ordered_at) < rates.next_valid_from;

create temp table orders as
select
    orders.order_id as shop_order_id,
    orders.customer_id as shop_customer_id,
    'shop:' || orders.customer_id as source_customer_key,
    addresses.sendable_email,
    addresses.normalised_email,
    coalesce(addresses.is_email_valid, false) as is_email_valid,
    orders.status as order_status,
    orders.currency,
    orders.total_amount::decimal(18, 4) as total_amount,
    orders.units_per_pound,
    orders.ordered_at,
    orders.load
from (
    from order_rows
    where reason is null and not is_later
    qualify row_number() over (partition by order_id order by known_at desc, load desc, _row_hash) = 1
) as orders
left join addresses using (email);

create temp table orders_refused as
select
    order_id,
    row_key(order_id, _row_hash) as row_key,
    reason,
    coalesce(known_at > getvariable('as_of'), false) as is_later,
    known_at as event_at,
    load
from order_rows
where reason is not null or known_at > getvariable('as_of');

drop table order_rows;

---------------------------------------------------------------------------------------------------------- identity --

create temp table shared_identifiers as
from read_csv(getvariable('seeds') || '/identity_shared_identifiers.csv', all_varchar = true);

create temp table cuts as
from read_csv(getvariable('seeds') || '/identity_cuts.csv', all_varchar = true);

create temp table identifiers as
with unknown_accounts as (
    select
        source_customer_key,
        sendable_email,
        normalised_email,
        is_email_valid,
        min(ordered_at) over (partition by shop_customer_id) as first_seen_at
    from orders
    anti join customers using (shop_customer_id)
    where shop_customer_id is not null
    qualify row_number() over (
        partition by shop_customer_id
        order by case when is_email_valid then 0 else 1 end, ordered_at desc, shop_order_id
    ) = 1
),

-- An address that is nobody's names nobody.
guests as (
    select
        normalised_email,
        arg_min(sendable_email, (ordered_at, shop_order_id)) as sendable_email,
        min(ordered_at) as first_seen_at
    from orders
    where
        shop_customer_id is null
        and is_email_valid
        and normalised_email not in (select identifier from shared_identifiers where identifier_kind = 'email')
        and split_part(normalised_email, '@', 1) not in (
            select identifier from shared_identifiers where identifier_kind = 'email_local_part'
        )
    group by normalised_email
)

select
    source_customer_key,
    'account' as identifier_kind,
    sendable_email,
    normalised_email,
    lower(first_name || ' ' || last_name) as full_name,
    is_email_valid,
    signed_up_at as first_seen_at
from customers
union all
select source_customer_key, 'account', sendable_email, normalised_email, null, is_email_valid, first_seen_at
from unknown_accounts
union all
select 'email:' || keyed_hash(normalised_email), 'email', sendable_email, normalised_email, null, true, first_seen_at
from guests;

create temp table claims as
with stated as (
    select source_customer_key, 'account_email' as edge_kind, normalised_email, full_name, first_seen_at
    from identifiers
    where is_email_valid and identifier_kind = 'account'
),

-- An order's address is evidence only where no account states it.
ordered as (
    select
        source_customer_key,
        'order_email' as edge_kind,
        normalised_email,
        null::varchar as full_name,
        min(ordered_at) as first_seen_at
    from orders
    where
        shop_customer_id is not null
        and is_email_valid
        and normalised_email not in (select normalised_email from stated)
    group by source_customer_key, normalised_email
),

united as (
    from stated union all from ordered
),

-- One address under two names is two people's: the earliest named account and those that agree with it own it.
contested as (
    select
        normalised_email,
        arg_min(full_name, (first_seen_at, source_customer_key)) filter (full_name is not null) as owner_name
    from united
    group by normalised_email
    having count(*) > 1
),

compared as (
    select
        united.*,
        'email:' || keyed_hash(united.normalised_email) as email_identifier,
        coalesce(united.full_name <> contested.owner_name, false) as is_contradicted
    from united
    left join contested using (normalised_email)
),

counted as (
    select normalised_email
    from compared
    where not is_contradicted
    group by normalised_email
    having count(*) > 10
)

select
    compared.*,
    case
        when cuts.left_identifier is not null then 'cut'
        when
            normalised_email in (select identifier from shared_identifiers where identifier_kind = 'email')
            or split_part(normalised_email, '@', 1) in (
                select identifier from shared_identifiers where identifier_kind = 'email_local_part'
            )
            then 'shared_identifier'
        when normalised_email in (from counted) then 'too_many_accounts'
        when is_contradicted then 'name_contradicts'
    end as refusal_reason
from compared
left join cuts
    on compared.source_customer_key = cuts.left_identifier and compared.email_identifier = cuts.right_identifier;

create temp table links as
with addresses_of as (
    select source_customer_key, email_identifier as group_key
    from claims
    where edge_kind = 'account_email' and refusal_reason is null
),

shared_devices as (
    select anonymous_id
    from logins
    group by anonymous_id
    having count(*) between 2 and 4
),

named as (
    select
        logins.anonymous_id,
        identifiers.source_customer_key,
        identifiers.full_name,
        logins.first_seen_at
    from logins
    semi join shared_devices using (anonymous_id)
    inner join identifiers
        on
            logins.source_customer_key = identifiers.source_customer_key
            and identifiers.identifier_kind = 'account'
            and identifiers.full_name is not null
    where logins.anonymous_id not in (select identifier from shared_identifiers where identifier_kind = 'device')
),

-- Two accounts of one full name that sign in on one device are one person's, whatever their addresses.
met as (
    select
        one.source_customer_key as left_identifier,
        other.source_customer_key as right_identifier,
        max(greatest(one.first_seen_at, other.first_seen_at)) as first_seen_at
    from named as one
    inner join named as other
        on
            one.anonymous_id = other.anonymous_id
            and one.full_name = other.full_name
            and one.source_customer_key < other.source_customer_key
    group by all
)

select
    claims.source_customer_key as left_identifier,
    claims.email_identifier as right_identifier,
    'order_email' as edge_kind,
    coalesce(addresses_of.group_key, claims.source_customer_key) as left_group,
    claims.email_identifier as right_group,
    claims.first_seen_at
from claims
left join addresses_of using (source_customer_key)
where claims.edge_kind = 'order_email' and claims.refusal_reason is null
union all
select
    met.left_identifier,
    met.right_identifier,
    'device_and_name' as edge_kind,
    coalesce(left_address.group_key, met.left_identifier) as left_group,
    coalesce(right_address.group_key, met.right_identifier) as right_group,
    met.first_seen_at
from met
left join addresses_of as left_address on met.left_identifier = left_address.source_customer_key
left join addresses_of as right_address on met.right_identifier = right_address.source_customer_key
anti join cuts on met.left_identifier = cuts.left_identifier and met.right_identifier = cuts.right_identifier;

-- Labels spread as far as they can: few nodes are linked at all.
create temp table components as
with recursive neighbours as (
    select left_group as node, right_group as neighbour from links where left_group <> right_group
    union
    select right_group as node, left_group as neighbour from links where left_group <> right_group
),

reached as (
    select node, node as label from neighbours
    union
    select neighbours.node, reached.label
    from reached
    inner join neighbours on reached.node = neighbours.neighbour
)

select node as group_key, min(label) as component_key
from reached
group by node;

create temp table people as
with linked as (
    select
        identifiers.*,
        coalesce(claims.email_identifier, identifiers.source_customer_key) as group_key,
        components.component_key
    from identifiers
    left join claims
        on
            identifiers.source_customer_key = claims.source_customer_key
            and claims.edge_kind = 'account_email'
            and claims.refusal_reason is null
    left join components
        on coalesce(claims.email_identifier, identifiers.source_customer_key) = components.group_key
),

oversize as (
    select component_key
    from linked
    where component_key is not null
    group by component_key
    having count(*) > 20
),

joined as (
    select
        linked.*,
        case
            when oversize.component_key is null then coalesce(linked.component_key, linked.group_key)
            else linked.group_key
        end as person_key
    from linked
    left join oversize using (component_key)
),

earliest as (
    select
        person_key,
        keyed_hash(arg_min(source_customer_key, (first_seen_at, identifier_kind, source_customer_key))) as customer_id
    from joined
    group by person_key
)

select
    joined.source_customer_key,
    earliest.customer_id,
    joined.identifier_kind,
    case when joined.is_email_valid then joined.sendable_email end as sendable_email,
    case when joined.is_email_valid then joined.normalised_email end as normalised_email,
    joined.normalised_email is not null and not joined.is_email_valid as has_invalid_email,
    joined.first_seen_at
from joined
inner join earliest using (person_key);

drop table identifiers;
drop table components;

create table marts.dim_customer_identities as
select source_customer_key, customer_id, 'shop' as source_system, identifier_kind, first_seen_at
from people;

create temp table mailboxes as
select normalised_email, min(customer_id) as customer_id
from (
    select claims.normalised_email, people.customer_id
    from claims
    inner join people using (source_customer_key)
    where claims.refusal_reason is null
    union all
    select normalised_email, customer_id from people where identifier_kind = 'email'
)
group by normalised_email
having min(customer_id) = max(customer_id);

-- A device that several people signed in on tells nothing about its anonymous events.
create temp table visitors as
select
    logins.anonymous_id,
    min(people.customer_id) as customer_id
from logins
left join people using (source_customer_key)
anti join cuts
    on 'device:' || logins.anonymous_id = cuts.left_identifier and logins.source_customer_key = cuts.right_identifier
where logins.anonymous_id not in (select identifier from shared_identifiers where identifier_kind = 'device')
group by logins.anonymous_id
having
    min(people.customer_id) is not null
    and min(coalesce(people.customer_id, logins.source_customer_key))
    = max(coalesce(people.customer_id, logins.source_customer_key));

create table marts.fct_identity_edges as
select
    source_customer_key as left_identifier,
    email_identifier as right_identifier,
    edge_kind,
    'shop' as source_system,
    refusal_reason,
    refusal_reason is null as is_joining,
    first_seen_at
from claims
union all
select 'shop:guest orders', 'email:' || keyed_hash(normalised_email), 'guest_order', 'shop', null, true, min(ordered_at)
from orders
where shop_customer_id is null and is_email_valid
group by normalised_email
union all
select left_identifier, right_identifier, edge_kind, 'web', null, true, first_seen_at
from links
where edge_kind = 'device_and_name'
union all
select
    'device:' || logins.anonymous_id,
    logins.source_customer_key,
    'device_login',
    'web',
    case when visitors.customer_id is null then 'several_people' end,
    visitors.customer_id is not null,
    logins.first_seen_at
from logins
left join visitors using (anonymous_id);

drop table claims;
drop table links;
drop table logins;

----------------------------------------------------------------------------------------------------------- sessions --

create temp macro visitor(anonymous_id, user_id) as coalesce(anonymous_id, 'customer:' || user_id);

create temp table sessions as
with spaced as (
    select
        rowid as piece,
        visitor(anonymous_id, user_id) as visitor_key,
        started_at,
        ended_at,
        max(ended_at) over (
            partition by visitor(anonymous_id, user_id)
            order by started_at, ended_at rows between unbounded preceding and 1 preceding
        ) as previous_ended_at
    from spans
),

numbered as (
    select
        piece,
        count(*) filter (previous_ended_at is null or epoch_us(started_at) - epoch_us(previous_ended_at) > 1800000000)
            over (
                partition by visitor_key order by started_at, ended_at rows between unbounded preceding and current row
            ) as session_number
    from spaced
),

-- The windows carry two instants each; all else joins what they found.
grouped as (
    select
        visitor(spans.anonymous_id, spans.user_id) as visitor_key,
        min(spans.user_id) as lowest,
        max(spans.user_id) as highest,
        max(agents.device_type) as device_type,
        max(spans.time_zone) as time_zone,
        min(spans.first_touch) as first_touch,
        max(spans.last_touch) as last_touch,
        sum(spans.event_count)::bigint as event_count,
        sum(spans.page_view_count)::bigint as page_view_count,
        sum(spans.product_view_count)::bigint as product_view_count,
        sum(spans.cart_addition_count)::bigint as cart_addition_count,
        sum(spans.checkout_count)::bigint as checkout_count,
        sum(spans.order_count)::bigint as order_count,
        min(spans.started_at) as started_at,
        max(spans.ended_at) as ended_at,
        max(spans.last_product_viewed_at) as last_product_viewed_at,
        max(spans.last_cart_added_at) as last_cart_added_at,
        max(spans.last_checkout_started_at) as last_checkout_started_at
    from spans
    inner join numbered on spans.rowid = numbered.piece
    left join agents using (user_agent)
    group by visitor_key, numbered.session_number
)

-- A visit in which two people signed in belongs to neither; one without a sign-in belongs to whom the device does.
select
    grouped.* exclude (lowest, highest),
    case
        when grouped.lowest is null then visitors.customer_id
        when low.customer_id = high.customer_id then low.customer_id
    end as customer_id
from grouped
left join people as low on 'shop:' || grouped.lowest = low.source_customer_key and low.identifier_kind = 'account'
left join people as high on 'shop:' || grouped.highest = high.source_customer_key and high.identifier_kind = 'account'
left join visitors on grouped.visitor_key = visitors.anonymous_id;

drop table spans;
drop table visitors;

create table marts.fct_web_sessions as
select
    visitor_key || ':' || strftime(started_at at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%f') as session_id,
    customer_id,
    device_type,
    nullif(split_part(first_touch, chr(31), 2), '') as first_campaign_source,
    nullif(split_part(first_touch, chr(31), 3), '') as first_campaign_medium,
    nullif(split_part(first_touch, chr(31), 4), '') as first_campaign_name,
    nullif(split_part(last_touch, chr(31), 2), '') as last_campaign_source,
    nullif(split_part(last_touch, chr(31), 3), '') as last_campaign_medium,
    nullif(split_part(last_touch, chr(31), 4), '') as last_campaign_name,
    event_count,
    page_view_count,
    product_view_count,
    cart_addition_count,
    checkout_count,
    order_count,
    utc_day(started_at) as session_date,
    started_at,
    ended_at
from sessions;

create temp table web as
with aged as (
    select
        sessions.*,
        days_before(sessions.started_at) as age_days,
        1::bigint << least(getvariable('zone_day') - utc_day(sessions.started_at), 62) as day_bit,
        extract(hour from sessions.started_at at time zone coalesce(known.name, 'UTC'))::bigint as visit_hour
    from sessions
    left join (select name from pg_timezone_names()) as known on sessions.time_zone = known.name
    where customer_id is not null
),

-- The most frequent hour, the earlier of equals.
hours as (
    select customer_id, 23 - max(hour_rank) % 100 as preferred_visit_hour
    from (
        select customer_id, count(*) * 100 + 23 - visit_hour as hour_rank
        from aged
        group by customer_id, visit_hour
    )
    group by customer_id
),

summed as (
    select
        customer_id,
        min(first_touch) as first_touch,
        max(last_touch) as last_touch,
        count(*) as web_session_count,
        count(*) filter (age_days < 7) as web_sessions_7d,
        count(*) filter (age_days < 30) as web_sessions_30d,
        count(*) filter (age_days < 90) as web_sessions_90d,
        count(*) filter (age_days < 365) as web_sessions_365d,
        sum(product_view_count) filter (age_days < 7) as product_views_7d,
        sum(product_view_count) filter (age_days < 30) as product_views_30d,
        sum(product_view_count) filter (age_days < 90) as product_views_90d,
        sum(product_view_count) filter (age_days < 365) as product_views_365d,
        count(*) filter (age_days < 30 and cart_addition_count > 0) as carts_30d,
        count(*) filter (age_days < 30 and checkout_count > 0) as checkouts_30d,
        bit_count(bit_or(day_bit) filter (age_days < 30)) as visit_days_30d,
        bit_count(bit_or(day_bit) filter (age_days < 30 and product_view_count > 0)) as product_view_days_30d,
        count(*) filter (device_type = 'mobile') as mobile_session_count,
        count(*) filter (device_type = 'tablet') as tablet_session_count,
        min(started_at) as first_web_seen_at,
        max(ended_at) as last_web_seen_at,
        max(last_product_viewed_at) as last_product_viewed_at,
        max(last_cart_added_at) as last_cart_added_at,
        max(last_checkout_started_at) as last_checkout_started_at
    from aged
    group by customer_id
)

select
    summed.*,
    hours.preferred_visit_hour,
    case
        when mobile_session_count * 2 > web_session_count then 'mobile'
        when tablet_session_count * 2 > web_session_count then 'tablet'
        else 'desktop'
    end as preferred_device,
    mobile_session_count::double / web_session_count as mobile_session_share
from summed
inner join hours using (customer_id);

drop table sessions;

------------------------------------------------------------------------------------------------- products, orders --

create temp table product_rows as
select
    product_id,
    name,
    category,
    price::decimal(18, 4) as price,
    case when product_id is null then 'missing_key' when updated_at is null then 'missing_time' end as reason,
    product_id is not null and coalesce(updated_at > getvariable('as_of'), false) as is_later,
    row_number() over (
        partition by product_id, updated_at is null, coalesce(updated_at > getvariable('as_of'), false)
        order by updated_at desc, load_of(filename) desc, _row_hash
    ) as version,
    updated_at,
    load_of(filename) as load,
    _row_hash
from landed('catalogue__products');

create table marts.dim_products as
select
    'shop:' || product_id as product_id,
    'shop' as source_system,
    name as product_name,
    category,
    'product' as product_kind,
    1::bigint as name_count,
    rounded_money(price) as price,
    true as is_product
from product_rows
where reason is null and not is_later and version = 1;

-- Few keys have a second version: those that do not count leave, and all else is read as it lies.
create temp macro order_lines() as table
    select
        *,
        case
            when order_line_id is null or order_id is null then 'missing_key'
            when updated_at is null then 'missing_time'
            when quantity is null or quantity <= 0 then 'non_positive_quantity'
            when unit_price::decimal(18, 4) is null or unit_price::decimal(18, 4) < 0 then 'negative_price'
        end as reason,
        order_line_id is not null and coalesce(updated_at > getvariable('as_of'), false) as is_later
    from landed('shop__order_lines');

create temp table older_lines as
with repeated as (
    select hash(order_line_id) as suspect
    from order_lines()
    where reason is null and not is_later
    group by all
    having count(*) > 1
)
select filename, file_row_number
from (
    select
        filename,
        file_row_number,
        row_number() over (
            partition by order_line_id order by updated_at desc, load_of(filename) desc, _row_hash
        ) as version
    from order_lines()
    where reason is null and not is_later and hash(order_line_id) in (from repeated)
)
where version > 1;

create temp table lines as
select
    order_line_id,
    order_id as shop_order_id,
    product_id as shop_product_id,
    quantity::bigint as quantity,
    line_amount::decimal(18, 4) as line_amount,
    updated_at,
    load_of(filename) as load
from order_lines()
anti join older_lines using (filename, file_row_number)
where reason is null and not is_later;

create temp table refund_rows as
select
    refund_id,
    order_id as shop_order_id,
    amount::decimal(18, 4) as amount,
    refunded_at,
    case
        when refund_id is null or order_id is null then 'missing_key'
        when refunded_at is null or updated_at is null then 'missing_time'
        when amount::decimal(18, 4) is null or amount::decimal(18, 4) <= 0 then 'non_positive_amount'
    end as reason,
    refund_id is not null and coalesce(greatest(refunded_at, updated_at) > getvariable('as_of'), false) as is_later,
    row_number() over (
        partition by refund_id, reason is not null, is_later
        order by greatest(refunded_at, updated_at) desc, load_of(filename) desc, _row_hash
    ) as version,
    greatest(refunded_at, updated_at) as known_at,
    load_of(filename) as load,
    _row_hash
from landed('shop__refunds');

create temp table placed as
with counted as (
    select shop_order_id, count(*) as line_count, sum(quantity)::bigint as item_count
    from lines
    group by shop_order_id
),

refunded as (
    select shop_order_id, sum(amount) as refunded_amount
    from refund_rows
    where reason is null and not is_later and version = 1
    group by shop_order_id
),

settled as (
    select
        orders.*,
        coalesce(people.customer_id, mailboxes.customer_id) as customer_id,
        coalesce(counted.line_count, 0) as line_count,
        coalesce(counted.item_count, 0) as item_count,
        case
            when orders.order_status = 'cancelled' then orders.total_amount
            else least(coalesce(refunded.refunded_amount, 0), orders.total_amount)
        end as refunded,
        orders.order_status = 'cancelled' as is_cancelled,
        coalesce(refunded.refunded_amount, 0) > orders.total_amount as is_refund_capped
    from orders
    left join counted using (shop_order_id)
    left join refunded using (shop_order_id)
    left join people using (source_customer_key)
    left join mailboxes
        on
            orders.shop_customer_id is null
            and orders.is_email_valid
            and orders.normalised_email = mailboxes.normalised_email
)

select
    shop_order_id,
    'shop:' || shop_order_id as order_id,
    customer_id,
    order_status,
    currency,
    units_per_pound,
    line_count,
    item_count,
    round(total_amount::double / units_per_pound::double, 2)::decimal(18, 4) as gross_amount,
    round(refunded::double / units_per_pound::double, 2)::decimal(18, 4) as refunded_amount,
    (gross_amount - refunded_amount)::decimal(18, 4) as net_amount,
    is_cancelled,
    is_refund_capped,
    gross_amount - refunded_amount > 0 and not is_cancelled as is_purchase,
    ordered_at,
    load
from settled;

create table marts.fct_orders as
select
    order_id,
    customer_id,
    'shop' as source_system,
    order_status,
    currency,
    line_count,
    item_count,
    units_per_pound::double as units_per_pound,
    rounded_money(gross_amount) as gross_amount,
    rounded_money(refunded_amount) as refunded_amount,
    rounded_money(net_amount) as net_amount,
    is_cancelled,
    customer_id is null as is_guest,
    is_purchase,
    is_refund_capped,
    utc_day(ordered_at) as order_date,
    ordered_at,
    load as _load_sequence
from placed;

create table features.customer_orders as
select customer_id, order_id, item_count, gross_amount, net_amount, order_date, ordered_at
from marts.fct_orders
where is_purchase and customer_id is not null;

create temp table order_sums as
with aged as (
    select
        *,
        days_before(ordered_at) as age_days,
        month_of(getvariable('zone_day')) - month_of(utc_day(ordered_at)) as months_ago
    from placed
    where customer_id is not null
)
select
    customer_id,
    count(*) filter (is_purchase) as order_count,
    count(*) filter (is_purchase and age_days < 7) as order_count_7_days,
    count(*) filter (is_purchase and age_days < 30) as order_count_30_days,
    count(*) filter (is_purchase and age_days < 90) as order_count_90_days,
    count(*) filter (is_purchase and age_days < 365) as order_count_365_days,
    sum(net_amount) filter (age_days < 7) as spend_7_days,
    sum(net_amount) filter (age_days < 30) as spend_30_days,
    sum(net_amount) filter (age_days < 90) as spend_90_days,
    sum(net_amount) filter (age_days < 365) as spend_365_days,
    count(*) filter (is_purchase and months_ago = 12) as order_count_month_year_ago,
    sum(net_amount) filter (months_ago = 12) as spend_month_year_ago,
    coalesce(sum(item_count) filter (is_purchase), 0) as purchased_item_count,
    count(*) filter (refunded_amount > 0) as refunded_order_count,
    sum(net_amount) as total_spend,
    coalesce(sum(net_amount) filter (is_purchase), 0) as purchase_amount,
    max(net_amount) filter (is_purchase) as largest_order_amount,
    sum(gross_amount) as gross_amount,
    sum(refunded_amount) as refunded_amount,
    min(ordered_at) filter (is_purchase) as first_ordered_at,
    max(ordered_at) filter (is_purchase) as last_ordered_at,
    max(ordered_at) as last_order_seen_at,
    (epoch(max(ordered_at) filter (is_purchase)) - epoch(min(ordered_at) filter (is_purchase))) / 86400.0
    / nullif(count(*) filter (is_purchase) - 1, 0) as purchase_interval_days
from aged
group by customer_id;

create temp table assortments as
with bought as (
    select
        placed.customer_id,
        lines.shop_product_id,
        products.category,
        lines.quantity,
        round(lines.line_amount::double / placed.units_per_pound::double, 4)::decimal(18, 4) as amount
    from lines
    inner join placed using (shop_order_id)
    left join product_rows as products
        on
            lines.shop_product_id = products.product_id
            and products.reason is null and not products.is_later and products.version = 1
    where placed.is_purchase and placed.customer_id is not null
),

distinct_products as (
    select customer_id, count(distinct shop_product_id) as distinct_products
    from bought
    group by customer_id
),

categories as (
    select customer_id, category, count(*) as line_count, sum(quantity) as item_count, sum(amount) as amount
    from bought
    where category is not null
    group by customer_id, category
),

amounts as (
    select
        customer_id,
        count(*) as category_count,
        sum(amount) filter (amount > 0) as category_amount,
        sum(amount::double * ln(amount::double)) filter (amount > 0) as weighted_logarithm,
        arg_min(category, (-amount, -item_count, category)) as favourite_category,
        max(amount) as greatest_amount
    from categories
    group by customer_id
)

select
    distinct_products.*,
    amounts.favourite_category,
    coalesce(amounts.category_count, 0) as category_count,
    share(case when greatest_amount > 0 then greatest_amount end, category_amount) as favourite_category_share,
    round(
        ln(nullif(coalesce(category_amount, 0)::double, 0))
        - coalesce(weighted_logarithm, 0) / nullif(coalesce(category_amount, 0)::double, 0), 6
    ) as category_entropy
from distinct_products
left join amounts using (customer_id);

-- Rows that a join refuses: a line or a refund of an order that does not count.
create temp table refused as
with refused_orders as (
    select order_id as shop_order_id, min(reason) as reason
    from orders_refused
    where reason is not null and not is_later and order_id is not null
    group by order_id
)
select
    'order_lines' as entity_name,
    row_key(lines.order_line_id, null) as row_key,
    coalesce(refused_orders.reason, 'unknown_order') as reason,
    lines.updated_at as event_at,
    lines.load
from lines
anti join placed using (shop_order_id)
left join refused_orders using (shop_order_id)
union all
select
    'refunds',
    row_key(refunds.refund_id, refunds._row_hash),
    coalesce(refused_orders.reason, 'unknown_order'),
    refunds.refunded_at,
    refunds.load
from (from refund_rows where reason is null and not is_later and version = 1) as refunds
anti join placed using (shop_order_id)
left join refused_orders using (shop_order_id);

drop table lines;

------------------------------------------------------------------------------------------------------------ e-mail --

create temp macro mails() as table
    select
        *,
        case
            when event_id is null or message_id is null then 'missing_key'
            when occurred_at is null then 'missing_time'
            when
                event_type is null
                or event_type not in ('sent', 'delivered', 'open', 'click', 'bounce', 'unsubscribe', 'complaint')
                then 'unknown_type'
        end as reason,
        coalesce(is_machine_open, false) as is_machine
    from landed('email__events');

create temp table mail_suspects as
select hash(event_id) as suspect
from mails()
where reason is null
group by all
having count(*) > 1
union all
select hash(occurred_at, message_id, event_type) as suspect
from mails()
where reason is null
group by all
having count(*) > 1;

create temp table mail_copies as
with suspected as (
    select
        *,
        load_of(filename) as load,
        row_number() over (partition by event_id order by load, file_row_number) as key_number
    from mails()
    where
        reason is null
        and (
            hash(event_id) in (from mail_suspects)
            or hash(occurred_at, message_id, event_type) in (from mail_suspects)
        )
)
select filename, file_row_number, occurred_at > getvariable('as_of') as is_later
from suspected
where key_number > 1
union all
select filename, file_row_number, occurred_at > getvariable('as_of') as is_later
from (
    select
        *,
        row_number() over (
            partition by
                occurred_at, message_id, customer_id,
                normalised(email),
                event_type, bounce_type, url, is_machine
            order by load, file_row_number
        ) as content_number
    from suspected
    where key_number = 1
)
where content_number > 1;

drop table mail_suspects;

create temp table mails_refused as
select
    reason,
    row_key(event_id, _row_hash) as row_key,
    occurred_at,
    load_of(filename) as load,
    coalesce(occurred_at > getvariable('as_of'), false) as is_later
from mails()
where reason is not null or occurred_at > getvariable('as_of');

create temp table responses as
select
    message_id,
    event_id,
    event_type,
    bounce_type,
    is_machine,
    url,
    customer_id,
    email,
    occurred_at
from mails()
anti join mail_copies using (filename, file_row_number)
where reason is null and event_type not in ('sent', 'delivered') and occurred_at <= getvariable('as_of');

-- What answers tell of a message is taken from the answers; sending and delivery from one pass over the rest.
create temp table messages as
with grouped as (
    select
        message_id,
        max(customer_id) as shop_customer_id,
        max(campaign_id) as campaign_id,
        max(campaign_name) as campaign_name,
        max(subject) as subject,
        min(email) as least_email,
        max(email) as greatest_email,
        count(*) filter (event_type = 'open' and not is_machine) as open_count,
        count(*) filter (event_type = 'open' and is_machine) as machine_open_count,
        count(*) filter (event_type = 'click' and is_machine) as machine_click_count,
        min(occurred_at) filter (event_type = 'sent') as sent_at,
        min(occurred_at) filter (event_type = 'delivered') as delivered_at,
        min(occurred_at) filter (event_type = 'open' and not is_machine) as first_opened_at,
        max(occurred_at) filter (event_type = 'open' and not is_machine) as last_opened_at,
        count(*) filter (event_type = 'bounce' and bounce_type = 'hard') > 0 as is_hard_bounced,
        count(*) filter (event_type = 'bounce' and coalesce(bounce_type <> 'hard', true)) > 0 as is_soft_bounced,
        min(occurred_at) filter (event_type = 'unsubscribe') as unsubscribed_at,
        min(occurred_at) filter (event_type = 'complaint') as complained_at,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from mails()
    anti join mail_copies using (filename, file_row_number)
    where reason is null and occurred_at <= getvariable('as_of')
    group by message_id
),

known as (
    select
        grouped.*,
        people.customer_id as account_customer_id,
        -- Looked up only where the account is unknown; a message's address is written in two ways at most.
        case
            when people.customer_id is null
                then greatest(normalised(least_email), normalised(greatest_email))
        end as unknown_email
    from grouped
    left join people on 'shop:' || grouped.shop_customer_id = people.source_customer_key
)

select
    known.* exclude (account_customer_id, unknown_email, shop_customer_id, least_email, greatest_email),
    coalesce(known.account_customer_id, mailboxes.customer_id) as customer_id
from known
left join mailboxes on known.unknown_email = mailboxes.normalised_email;

-- A filter that hides follows links as a browser would: on arrival, or many at once.
create temp table clicks as
with followed as (
    select distinct message_id, url, occurred_at
    from responses
    where event_type = 'click' and not is_machine
),

crowded as (
    select message_id
    from followed
    group by message_id
    having count(distinct url) >= 3
),

bursts as (
    select followed.message_id, followed.occurred_at
    from followed
    semi join crowded using (message_id)
    inner join followed as neighbours
        on
            followed.message_id = neighbours.message_id
            and abs(epoch(neighbours.occurred_at) - epoch(followed.occurred_at)) <= 5
    group by followed.message_id, followed.occurred_at
    having count(distinct neighbours.url) >= 3
)

select
    followed.message_id,
    followed.url,
    followed.occurred_at,
    messages.customer_id,
    bursts.message_id is not null
    or (
        coalesce(epoch(followed.occurred_at) - epoch(messages.delivered_at) between 0 and 10, false)
        and coalesce(messages.first_opened_at > followed.occurred_at, true)
    ) as is_scan
from followed
inner join messages using (message_id)
left join bursts on followed.message_id = bursts.message_id and followed.occurred_at = bursts.occurred_at;

create temp table attributed as
with visits as (
    select customer_id, occurred_at as clicked_at, max(message_id) as message_id
    from clicks
    where not is_scan and customer_id is not null
    group by all
)
select
    placed.customer_id,
    visits.message_id,
    placed.net_amount,
    placed.ordered_at
from (from placed where is_purchase and customer_id is not null) as placed
asof join visits on placed.customer_id = visits.customer_id and placed.ordered_at > visits.clicked_at
where epoch(placed.ordered_at) - epoch(visits.clicked_at) <= 5 * 86400;

create temp table mail_results as
with clicked as (
    select
        message_id,
        count(*) filter (not is_scan) as click_count,
        count(*) filter (is_scan) as suspected_click_count,
        min(occurred_at) filter (not is_scan) as first_clicked_at,
        max(occurred_at) filter (not is_scan) as last_clicked_at
    from clicks
    group by message_id
),

ordered as (
    select message_id, count(*) as order_count, sum(net_amount) as revenue
    from attributed
    group by message_id
)

select
    message_id,
    coalesce(clicked.click_count, 0) as click_count,
    coalesce(clicked.suspected_click_count, 0) as suspected_click_count,
    clicked.first_clicked_at,
    clicked.last_clicked_at,
    coalesce(ordered.order_count, 0) as order_count,
    coalesce(ordered.revenue, 0) as revenue
from clicked
full join ordered using (message_id);

create table marts.fct_email_messages as
select
    'shop:' || messages.message_id as email_message_id,
    'shop' as source_system,
    messages.customer_id,
    messages.campaign_id,
    messages.subject,
    messages.open_count,
    coalesce(results.click_count, 0) as click_count,
    messages.machine_open_count,
    messages.machine_click_count,
    coalesce(results.suspected_click_count, 0) as suspected_click_count,
    coalesce(results.order_count, 0) as attributed_order_count,
    rounded_money(coalesce(results.revenue, 0)) as attributed_revenue,
    messages.delivered_at is not null as is_delivered,
    messages.first_opened_at is not null as is_opened,
    results.first_clicked_at is not null as is_clicked,
    messages.machine_open_count > 0 as is_machine_opened,
    messages.machine_click_count + coalesce(results.suspected_click_count, 0) > 0 as is_scanned,
    messages.is_hard_bounced or messages.is_soft_bounced as is_bounced,
    messages.is_hard_bounced,
    messages.unsubscribed_at is not null as is_unsubscribed,
    messages.complained_at is not null as is_complained,
    messages.sent_at,
    messages.delivered_at,
    messages.first_opened_at,
    results.first_clicked_at,
    messages.unsubscribed_at,
    messages.complained_at
from messages
left join mail_results as results using (message_id);

create table marts.fct_email_campaigns as
with summed as (
    select
        messages.campaign_id,
        max(messages.campaign_name) as campaign_name,
        count(*) as message_count,
        count(sent_at) as sent_count,
        count(delivered_at) as delivered_count,
        count(first_opened_at) as opened_count,
        count(first_clicked_at) as clicked_count,
        count(*) filter (machine_open_count > 0) as machine_opened_count,
        count(*) filter (machine_click_count + coalesce(suspected_click_count, 0) > 0) as scanned_count,
        count(*) filter (is_hard_bounced) as hard_bounced_count,
        count(*) filter (is_soft_bounced) as soft_bounced_count,
        count(unsubscribed_at) as unsubscribed_count,
        count(complained_at) as complained_count,
        coalesce(sum(order_count), 0)::bigint as attributed_order_count,
        coalesce(sum(revenue), 0) as revenue,
        count(first_opened_at) filter (delivered_at is not null) as delivered_opened,
        count(first_clicked_at) filter (delivered_at is not null) as delivered_clicked,
        count(first_clicked_at) filter (delivered_at is not null and first_opened_at is not null) as opened_clicked,
        count(unsubscribed_at) filter (delivered_at is not null) as delivered_unsubscribed,
        count(complained_at) filter (delivered_at is not null) as delivered_complained,
        min(first_event_at) as started_at,
        max(last_event_at) as last_event_at
    from messages
    left join mail_results using (message_id)
    where messages.campaign_id is not null
    group by messages.campaign_id
)
select
    'shop' as source_system,
    campaign_id,
    campaign_name,
    message_count,
    sent_count,
    delivered_count,
    opened_count,
    clicked_count,
    machine_opened_count,
    scanned_count,
    hard_bounced_count,
    soft_bounced_count,
    unsubscribed_count,
    complained_count,
    attributed_order_count,
    rounded_money(revenue) as attributed_revenue,
    share(delivered_opened, delivered_count) as open_rate,
    share(delivered_clicked, delivered_count) as click_rate,
    share(opened_clicked, delivered_opened) as click_to_open_rate,
    share(attributed_order_count, delivered_count) as conversion_rate,
    share(hard_bounced_count + soft_bounced_count, message_count) as bounce_rate,
    share(delivered_unsubscribed, delivered_count) as unsubscribe_rate,
    share(delivered_complained, delivered_count) as complaint_rate,
    started_at,
    last_event_at
from summed;

create temp table response_days as
with judged as (
    select
        responses.message_id,
        utc_day(responses.occurred_at) as event_date,
        responses.event_type,
        responses.is_machine,
        coalesce(clicks.is_scan, false) as is_scan,
        responses.occurred_at
    from responses
    left join clicks
        on
            responses.event_type = 'click'
            and not responses.is_machine
            and responses.message_id = clicks.message_id
            and responses.occurred_at = clicks.occurred_at
            and coalesce(responses.url, '') = coalesce(clicks.url, '')
),

grouped as (
    select
        message_id,
        event_date,
        count(*) filter (event_type = 'open' and not is_machine) as open_count,
        count(*) filter (event_type = 'click' and not is_machine and not is_scan) as click_count,
        bool_or(event_type = 'open' and is_machine) as is_machine_opened,
        bool_or(event_type = 'click' and (is_machine or is_scan)) as is_scanned,
        bool_or(event_type = 'bounce' and not is_machine) as is_bounced,
        bool_or(event_type = 'unsubscribe' and not is_machine) as is_unsubscribed,
        bool_or(event_type = 'complaint' and not is_machine) as is_complained,
        max(occurred_at) filter (not is_machine and (event_type = 'open' or (event_type = 'click' and not is_scan)))
            as last_engaged_at
    from judged
    group by all
)

select
    grouped.*,
    messages.campaign_id,
    messages.customer_id
from grouped
inner join messages using (message_id);

create table marts.fct_email_customer_days as
select
    customer_id,
    count(*) filter (open_count > 0) as opened_count,
    count(*) filter (click_count > 0) as clicked_count,
    sum(open_count)::bigint as open_count,
    sum(click_count)::bigint as click_count,
    event_date,
    max(last_engaged_at) as last_engaged_at
from response_days
where last_engaged_at is not null and customer_id is not null
group by customer_id, event_date;

create table marts.fct_email_days as
with united as (
    select campaign_id, utc_day(sent_at) as event_date, count(*) as sent_count
    from messages
    where sent_at is not null
    group by all
    union all by name
    select campaign_id, utc_day(delivered_at) as event_date, count(*) as delivered_count
    from messages
    where delivered_at is not null
    group by all
    union all by name
    select
        campaign_id,
        event_date,
        count(*) filter (open_count > 0) as opened_count,
        count(*) filter (click_count > 0) as clicked_count,
        count(*) filter (is_machine_opened) as machine_opened_count,
        count(*) filter (is_scanned) as scanned_count,
        count(*) filter (is_bounced) as bounced_count,
        count(*) filter (is_unsubscribed) as unsubscribed_count,
        count(*) filter (is_complained) as complained_count
    from response_days
    group by all
    union all by name
    select
        messages.campaign_id,
        utc_day(attributed.ordered_at) as event_date,
        count(*) as order_count,
        sum(attributed.net_amount) as revenue
    from attributed
    inner join messages using (message_id)
    group by all
)
select
    'shop' as source_system,
    campaign_id,
    coalesce(sum(sent_count), 0)::bigint as sent_count,
    coalesce(sum(delivered_count), 0)::bigint as delivered_count,
    coalesce(sum(opened_count), 0)::bigint as opened_count,
    coalesce(sum(clicked_count), 0)::bigint as clicked_count,
    coalesce(sum(machine_opened_count), 0)::bigint as machine_opened_count,
    coalesce(sum(scanned_count), 0)::bigint as scanned_count,
    coalesce(sum(bounced_count), 0)::bigint as bounced_count,
    coalesce(sum(unsubscribed_count), 0)::bigint as unsubscribed_count,
    coalesce(sum(complained_count), 0)::bigint as complained_count,
    coalesce(sum(order_count), 0)::bigint as attributed_order_count,
    rounded_money(coalesce(sum(revenue), 0)) as attributed_revenue,
    event_date
from united
where campaign_id is not null
group by campaign_id, event_date;

create temp table engagement as
with aged as (
    select
        messages.customer_id,
        messages.delivered_at,
        messages.first_opened_at,
        messages.last_opened_at,
        results.first_clicked_at,
        results.last_clicked_at,
        days_before(messages.first_event_at) as age_days
    from messages
    left join mail_results as results using (message_id)
    where messages.customer_id is not null
),

summed as (
    select
        customer_id,
        count(delivered_at) as emails_delivered_count,
        count(first_opened_at) as emails_opened_count,
        count(first_clicked_at) as emails_clicked_count,
        count(first_opened_at) filter (delivered_at is not null) as delivered_opened_count,
        count(first_clicked_at) filter (delivered_at is not null) as delivered_clicked_count,
        count(delivered_at) filter (age_days < 7) as emails_delivered_7d,
        count(first_opened_at) filter (age_days < 7) as emails_opened_7d,
        count(first_clicked_at) filter (age_days < 7) as emails_clicked_7d,
        count(delivered_at) filter (age_days < 30) as emails_delivered_30d,
        count(first_opened_at) filter (age_days < 30) as emails_opened_30d,
        count(first_clicked_at) filter (age_days < 30) as emails_clicked_30d,
        count(delivered_at) filter (age_days < 90) as emails_delivered_90d,
        count(first_opened_at) filter (age_days < 90) as emails_opened_90d,
        count(first_clicked_at) filter (age_days < 90) as emails_clicked_90d,
        count(delivered_at) filter (age_days < 365) as emails_delivered_365d,
        count(first_opened_at) filter (age_days < 365) as emails_opened_365d,
        count(first_clicked_at) filter (age_days < 365) as emails_clicked_365d,
        max(delivered_at) as last_email_delivered_at,
        max(last_opened_at) as last_email_opened_at,
        max(last_clicked_at) as last_email_clicked_at
    from aged
    group by customer_id
),

engaged as (
    select customer_id, count(distinct event_date) as engagement_days_30d
    from response_days
    where customer_id is not null and days_before(last_engaged_at) < 30
    group by customer_id
),

ordered as (
    select customer_id, count(*) as email_order_count
    from attributed
    group by customer_id
)

select
    summed.*,
    coalesce(engaged.engagement_days_30d, 0) as engagement_days_30d,
    coalesce(ordered.email_order_count, 0) as email_order_count,
    share(delivered_opened_count, emails_delivered_count) as email_open_rate,
    share(delivered_clicked_count, emails_delivered_count) as email_click_rate,
    greatest(last_email_opened_at, last_email_clicked_at) as last_email_engaged_at
from summed
left join engaged using (customer_id)
left join ordered using (customer_id);

drop table response_days;
drop table mail_results;
drop table clicks;
drop table attributed;
drop table placed;

---------------------------------------------------------------------------------------------------------- consent --

create temp table severities as
select decision, severity::bigint as severity
from read_csv(getvariable('seeds') || '/consent_decisions.csv', all_varchar = true);

create temp table consent_rows as
with renamed as (
    select
        consent_id,
        customer_id as shop_customer_id,
        'shop:' || customer_id as source_customer_key,
        source as consent_source,
        wording_version,
        recorded_at,
        lower(trim(channel)) as channel,
        case
            when lower(trim(status)) in ('requested', 'unconfirmed', 'pending') then 'requested'
            else lower(trim(status))
        end as consent_status,
        nullif(trim(proof), '') as consent_proof,
        load_of(filename) as load,
        _row_hash
    from landed('crm__consents')
),

judged as (
    select
        *,
        case
            when consent_id is null or shop_customer_id is null then 'missing_key'
            when recorded_at is null then 'missing_time'
            when coalesce(channel, '') = '' then 'missing_channel'
            when coalesce(consent_status, '') not in ('granted', 'withdrawn', 'requested') then 'unknown_status'
        end as reason,
        consent_id is not null and coalesce(recorded_at > getvariable('as_of'), false) as is_later
    from renamed
)

select
    *,
    row_number() over (
        partition by consent_id, reason is not null, is_later order by load, recorded_at, _row_hash
    ) as version
from judged;

-- Of simultaneous records the most restrictive counts, and after a withdrawal only the person's own act grants again.
create temp table consents as
with looked_back as (
    select
        consent_rows.*,
        people.customer_id,
        max(recorded_at) filter (consent_status = 'requested') over up_to_here as last_requested_at,
        max(recorded_at) filter (consent_status = 'withdrawn') over up_to_here as last_withdrawn_at
    from consent_rows
    left join people using (source_customer_key)
    where reason is null and not is_later and version = 1
    window up_to_here as (
        partition by consent_rows.source_customer_key, channel order by recorded_at
        range between unbounded preceding and current row
    )
),

checked as (
    select
        *,
        case
            when consent_status = 'withdrawn' then null
            when recorded_at = last_withdrawn_at then 'outweighed'
            when consent_status = 'requested' then null
            when recorded_at = last_requested_at then 'outweighed'
            when consent_proof is null then 'unproven'
        end as flaw,
        case when consent_status = 'granted' and flaw is null then recorded_at end as accepted_at,
        coalesce(consent_source in ('sign_up_form', 'checkout', 'preference_centre'), false) as is_own_act
    from looked_back
),

compared as (
    select
        *,
        max(accepted_at) filter (is_own_act) over up_to_here as last_opted_in_at,
        max(accepted_at) over up_to_here as last_accepted_at,
        max(accepted_at) filter (is_own_act or last_withdrawn_at is null)
            over (partition by source_customer_key, channel) as last_confirmed_at
    from checked
    window up_to_here as (
        partition by source_customer_key, channel order by recorded_at
        range between unbounded preceding and current row
    )
)

select
    consent_id,
    customer_id,
    source_customer_key,
    channel,
    consent_status,
    consent_source,
    wording_version,
    consent_proof,
    recorded_at,
    case
        when flaw is not null then flaw
        when customer_id is null then 'unknown_customer'
        when consent_status = 'requested' and recorded_at < last_confirmed_at then null
        when consent_status = 'requested' then 'unconfirmed'
        when consent_status = 'withdrawn' or is_own_act or last_withdrawn_at is null then null
        when last_opted_in_at > last_withdrawn_at then null
        else 'not_own_act'
    end as rejection_reason,
    case
        when last_opted_in_at > last_withdrawn_at then 'granted'
        when last_withdrawn_at is not null then 'withdrawn'
        when last_accepted_at is not null then 'granted'
        else 'requested'
    end as account_state,
    case when is_own_act then accepted_at end as opted_in_at
from compared;

-- An account speaks by its last withdrawal or last own opt-in, and of several accounts the most restrictive speaks.
create temp table channel_consents as
with accounts as (
    select
        customer_id,
        channel,
        max(recorded_at) filter (consent_status = 'withdrawn' and rejection_reason is null) as withdrawn_at,
        max(recorded_at) filter (opted_in_at is not null) as opted_in_at,
        min(recorded_at) filter (consent_status = 'granted' and rejection_reason is null) as first_granted_at,
        max(recorded_at) as last_recorded_at
    from consents
    where customer_id is not null
    group by customer_id, source_customer_key, channel
),

speaking as (
    select
        customer_id,
        channel,
        case
            when opted_in_at > withdrawn_at then 'granted'
            when withdrawn_at is not null then 'withdrawn'
            when first_granted_at is not null then 'granted'
            else 'requested'
        end as state,
        case
            when opted_in_at > withdrawn_at then opted_in_at
            when withdrawn_at is not null then withdrawn_at
            else coalesce(opted_in_at, first_granted_at, last_recorded_at)
        end as changed_at
    from accounts
),

severe as (
    select
        customer_id,
        channel,
        min(case state when 'withdrawn' then 1 when 'requested' then 2 else 3 end) as severity,
        max(changed_at) filter (state = 'withdrawn') as withdrawn_at,
        max(changed_at) filter (state = 'requested') as requested_at,
        min(changed_at) filter (state = 'granted') as granted_at
    from speaking
    group by customer_id, channel
),

states as (
    select
        customer_id,
        channel,
        case severity when 1 then 'withdrawn' when 2 then 'requested' else 'granted' end as consent_state,
        case severity when 1 then withdrawn_at when 2 then requested_at else granted_at end as changed_at
    from severe
)

select
    states.customer_id,
    states.channel,
    states.consent_state,
    consents.consent_source,
    consents.wording_version,
    states.changed_at,
    case when states.consent_state = 'granted' then consents.consent_proof end as consent_proof,
    case when states.consent_state = 'granted' then coalesce(consents.opted_in_at, states.changed_at) end as opted_in_at
from states
inner join consents
    on
        states.customer_id = consents.customer_id
        and states.channel = consents.channel
        and states.changed_at = consents.recorded_at
        and states.consent_state = consents.account_state
where
    states.consent_state = 'requested'
    or (states.consent_state = consents.consent_status and consents.rejection_reason is null)
qualify row_number() over (partition by states.customer_id, states.channel order by consents.consent_id) = 1;

create temp table stops as
select
    'shop:' || event_id as decision_id,
    'shop:' || message_id as email_message_id,
    'shop:' || responses.customer_id as source_customer_key,
    messages.campaign_id,
    normalised(email) as normalised_email,
    keyed_hash(normalised_email) as address_hash,
    case event_type when 'unsubscribe' then 'unsubscribed' when 'complaint' then 'complained' else 'bounced' end
        as decision,
    occurred_at
from responses
inner join messages using (message_id)
where event_type in ('unsubscribe', 'complaint') or (event_type = 'bounce' and bounce_type = 'hard');

drop table responses;
drop table messages;

create temp table touches as
select distinct
    stops.decision_id,
    people.source_customer_key,
    people.customer_id,
    people.identifier_kind = 'account' as is_stated
from (
    select decision_id, people.source_customer_key from stops inner join people using (source_customer_key)
    union all
    select decision_id, people.source_customer_key from stops inner join people using (normalised_email)
) as stops
inner join people using (source_customer_key);

-- An unsubscribe ends when the last of the accounts that it touched has opted in again.
create temp table lifts as
with accounts as (
    select
        stops.decision_id,
        consents.source_customer_key,
        bool_or(touches.is_stated) as is_stated,
        min(consents.recorded_at) filter (consents.opted_in_at > stops.occurred_at) as opted_in_again_at
    from stops
    inner join touches using (decision_id)
    inner join consents on touches.source_customer_key = consents.source_customer_key
    where stops.decision = 'unsubscribed' and consents.channel = 'email' and consents.customer_id is not null
    group by all
),

ended as (
    select accounts.decision_id, max(opted_in_again_at) as lifted_at
    from accounts
    left join (select distinct decision_id from touches where is_stated) as stated using (decision_id)
    group by accounts.decision_id
    having
        count(*) = count(opted_in_again_at)
        and bool_or(case when stated.decision_id is null then true else accounts.is_stated end)
)

select
    ended.decision_id,
    ended.lifted_at,
    arg_min(consents.consent_proof, consents.consent_id) filter (consents.consent_proof is not null) as consent_proof
from ended
inner join accounts on ended.decision_id = accounts.decision_id and ended.lifted_at = accounts.opted_in_again_at
inner join consents
    on
        accounts.source_customer_key = consents.source_customer_key
        and accounts.opted_in_again_at = consents.recorded_at
        and consents.channel = 'email'
        and consents.opted_in_at is not null
group by ended.decision_id, ended.lifted_at;

-- The profile of a person with several records: each field from the first record, in order, that has it.
create temp table records as
select
    people.customer_id,
    people.sendable_email as email,
    people.normalised_email,
    people.has_invalid_email,
    customers.first_name,
    customers.last_name,
    customers.phone,
    customers.loyalty_tier,
    customers.birth_date,
    customers.country_code,
    customers.time_zone,
    nullif(customers.preferences, '[]') as preferences,
    people.first_seen_at,
    coalesce(customers.updated_at, people.first_seen_at) as described_at,
    customers.source_customer_key is null as is_order,
    people.source_customer_key
from people
left join customers using (source_customer_key);

drop table customers;

create temp table merged as
with counted as (
    select
        customer_id,
        count(*) as record_count,
        bool_or(has_invalid_email) as has_invalid,
        count(*) = 1 or sum(case when is_order then 0 when email is null then 2 else 1 end) = 1 as is_described_once,
        min(first_seen_at) as first_seen_at,
        max(described_at) as last_described_at
    from records
    group by customer_id
),

described as (
    select records.*, case when is_order then 'shop_order' else 'crm' end as source
    from records
    inner join counted using (customer_id)
    where counted.is_described_once and (not records.is_order or counted.record_count = 1)
),

compared as (
    select
        *,
        case when is_order then 'shop_order' else 'crm' end as source,
        row_number() over (partition by customer_id order by is_order, described_at desc, source_customer_key) as place
    from records
    semi join (from counted where not is_described_once) using (customer_id)
),

found as (
    select
        customer_id, email, normalised_email, first_name, last_name, phone, loyalty_tier, birth_date, country_code,
        time_zone, preferences,
        case when email is not null then source end as email_source,
        case when first_name is not null then source end as first_name_source,
        case when last_name is not null then source end as last_name_source,
        case when phone is not null then source end as phone_source,
        case when loyalty_tier is not null then source end as loyalty_tier_source,
        case when birth_date is not null then source end as birth_date_source,
        case when country_code is not null then source end as country_code_source,
        case when time_zone is not null then source end as time_zone_source,
        case when preferences is not null then source end as preferences_source
    from described
    union all by name
    select
        customer_id,
        arg_min(email, place) as email,
        arg_min(normalised_email, place) as normalised_email,
        arg_min(first_name, place) as first_name,
        arg_min(last_name, place) as last_name,
        arg_min(phone, place) as phone,
        arg_min(loyalty_tier, place) as loyalty_tier,
        arg_min(birth_date, place) as birth_date,
        arg_min(country_code, place) as country_code,
        arg_min(time_zone, place) as time_zone,
        arg_min(preferences, place) as preferences,
        arg_min(source, place) filter (email is not null) as email_source,
        arg_min(source, place) filter (first_name is not null) as first_name_source,
        arg_min(source, place) filter (last_name is not null) as last_name_source,
        arg_min(source, place) filter (phone is not null) as phone_source,
        arg_min(source, place) filter (loyalty_tier is not null) as loyalty_tier_source,
        arg_min(source, place) filter (birth_date is not null) as birth_date_source,
        arg_min(source, place) filter (country_code is not null) as country_code_source,
        arg_min(source, place) filter (time_zone is not null) as time_zone_source,
        arg_min(source, place) filter (preferences is not null) as preferences_source
    from compared
    group by customer_id
)

select
    found.*,
    counted.record_count,
    counted.first_seen_at,
    counted.last_described_at,
    found.email is null and counted.has_invalid as has_invalid_email
from found
inner join counted using (customer_id);

drop table records;

create temp table suppressions as
select
    stops.decision_id,
    stops.decision,
    reached.customer_id,
    stops.address_hash,
    stops.campaign_id,
    stops.email_message_id,
    coalesce(stops.source_customer_key, 'email:' || stops.address_hash) as subject_key,
    case
        when reached.customer_id is null then 'unknown_customer'
        when stops.decision = 'bounced' and stops.normalised_email <> merged.normalised_email then 'another_address'
    end as rejection_reason,
    stops.occurred_at as recorded_at,
    lifts.lifted_at,
    lifts.consent_proof as lift_proof
from stops
left join (select distinct decision_id, customer_id from touches) as reached using (decision_id)
left join merged on reached.customer_id = merged.customer_id
left join lifts on stops.decision_id = lifts.decision_id;

create temp table suppressed as
select
    customer_id,
    decision as suppression_reason,
    recorded_at as suppressed_at
from suppressions
inner join severities using (decision)
where rejection_reason is null and lifted_at is null
qualify row_number() over (partition by customer_id order by severity, recorded_at, decision_id) = 1;

create table marts.dim_suppressions as
select
    'person' as subject_kind,
    customer_id,
    null::varchar as address_hash,
    suppression_reason,
    suppressed_at,
    'person:' || customer_id as suppression_id
from suppressed
union all
select 'address', null, address_hash, decision, recorded_at, 'address:' || address_hash
from (
    from suppressions
    inner join severities using (decision)
    where lifted_at is null and address_hash is not null
    qualify row_number() over (partition by address_hash order by severity, recorded_at, decision_id) = 1
);

create table marts.dim_customer_consents as
with united as (
    select
        merged.customer_id,
        'email' as channel,
        coalesce(states.consent_state, 'none') as consent_state,
        states.consent_source,
        states.wording_version,
        states.consent_proof,
        states.changed_at,
        suppressed.suppression_reason
    from merged
    left join channel_consents as states on merged.customer_id = states.customer_id and states.channel = 'email'
    left join suppressed on merged.customer_id = suppressed.customer_id
    union all
    select customer_id, channel, consent_state, consent_source, wording_version, consent_proof, changed_at, null
    from channel_consents
    where channel <> 'email'
)
select
    customer_id,
    channel,
    consent_state,
    consent_source,
    wording_version,
    consent_proof,
    changed_at,
    case
        when suppression_reason is not null then suppression_reason
        when consent_state = 'withdrawn' then 'consent_withdrawn'
        when consent_state = 'requested' then 'consent_unconfirmed'
        when consent_state = 'none' then 'no_consent'
    end as refusal_reason,
    suppression_reason is null and consent_state = 'granted' as is_sendable
from united;

create table marts.fct_consent_changes as
with decisions as (
    select
        'crm:' || consent_id as decision_id,
        customer_id,
        channel,
        consent_status as decision,
        source_customer_key as subject_key,
        consent_source as decision_source,
        wording_version,
        consent_proof as decision_proof,
        null::varchar as campaign_id,
        rejection_reason,
        account_state,
        recorded_at,
        'crm:' || consent_id || ':' || coalesce(customer_id, 'nobody') as consent_change_id
    from consents
    union all
    select
        decision_id, customer_id, 'email', decision, subject_key, 'shop', null, email_message_id, campaign_id,
        rejection_reason, null, recorded_at,
        decision_id || ':' || coalesce(customer_id, 'nobody')
    from suppressions
    union all
    select
        decision_id, customer_id, 'email', 'lifted', subject_key, 'opt_in', null, lift_proof, campaign_id,
        rejection_reason, null, lifted_at,
        decision_id || ':' || coalesce(customer_id, 'nobody') || ':email:lifted'
    from suppressions
    where lifted_at is not null
),

-- Most people decide once: only of the others is it worked out where they stood before and after.
placed_decisions as (
    select
        decisions.*,
        severities.severity,
        row_number() over (
            partition by decisions.customer_id, decisions.channel
            order by recorded_at, rejection_reason is not null, severity, consent_change_id
        ) as decision_number
    from decisions
    semi join (
        select customer_id, channel from decisions where customer_id is not null group by all having count(*) > 1
    ) as several
        on decisions.customer_id = several.customer_id and decisions.channel = several.channel
    inner join severities using (decision)
),

followed as (
    select
        *,
        lag(account_state) over (
            partition by customer_id, channel, subject_key, account_state is null order by decision_number
        ) as previous_state
    from placed_decisions
),

counted as (
    select
        *,
        min(severity) filter (rejection_reason is null and decision in ('erased', 'complained', 'bounced'))
            over up_to_here as final_severity,
        count(*) filter (account_state = 'withdrawn') over up_to_here
        - count(*) filter (previous_state = 'withdrawn') over up_to_here as withdrawn_count,
        count(*) filter (account_state = 'requested') over up_to_here
        - count(*) filter (previous_state = 'requested') over up_to_here as requested_count,
        count(*) filter (account_state = 'granted') over up_to_here
        - count(*) filter (previous_state = 'granted') over up_to_here as granted_count,
        count(*) filter (decision = 'unsubscribed') over up_to_here
        - count(*) filter (decision = 'lifted') over up_to_here as unsubscribed_count
    from followed
    window up_to_here as (
        partition by customer_id, channel order by decision_number rows between unbounded preceding and current row
    )
),

stood as (
    select
        counted.consent_change_id,
        counted.decision_number,
        case
            when final_severity is not null then severities.decision
            when unsubscribed_count > 0 then 'unsubscribed'
            when withdrawn_count > 0 then 'withdrawn'
            when requested_count > 0 then 'requested'
            when granted_count > 0 then 'granted'
            else 'none'
        end as state_after,
        coalesce(lag(state_after) over (partition by customer_id, channel order by decision_number), 'none')
            as state_before
    from counted
    left join severities on counted.final_severity = severities.severity
),

judged as (
    select
        decisions.*,
        case when customer_id is not null then coalesce(stood.decision_number, 1) end as decision_number,
        case when customer_id is not null then coalesce(stood.state_before, 'none') end as state_before,
        case
            when customer_id is null then null
            when stood.consent_change_id is not null then stood.state_after
            when account_state is not null then account_state
            when rejection_reason is null then decision
            else 'none'
        end as state_after
    from decisions
    left join stood using (consent_change_id)
)

select
    consent_change_id,
    decision_id,
    customer_id,
    channel,
    decision,
    subject_key,
    decision_source,
    wording_version,
    decision_proof,
    campaign_id,
    rejection_reason,
    state_before,
    state_after,
    decision_number,
    recorded_at,
    coalesce(state_before <> state_after, false) as is_state_change
from judged;

---------------------------------------------------------------------------------------------------------- profile --

create temp macro expected_interval(interval_days, orders_made) as
    case when orders_made >= 3 then least(greatest(interval_days, 30), 180) when orders_made > 0 then 90 end;

create temp macro full_years(birthday) as
    floor((
        extract(year from getvariable('zone_day')) * 10000
        + extract(month from getvariable('zone_day')) * 100
        + extract(day from getvariable('zone_day'))
        - extract(year from birthday) * 10000
        - extract(month from birthday) * 100
        - extract(day from birthday)
    ) / 10000.0)::bigint;

-- One join of everything for all that follows: profile, measures, features.
create temp table profiles as
select
    merged.*,
    emails.consent_state as granted_or_withdrawn,
    emails.consent_proof,
    coalesce(emails.opted_in_at, emails.changed_at) as email_consent_changed_at,
    suppressed.suppression_reason,
    suppressed.suppressed_at,
    assortments.favourite_category,
    assortments.distinct_products,
    assortments.category_count,
    assortments.favourite_category_share,
    assortments.category_entropy,
    web.* exclude (customer_id),
    engagement.* exclude (customer_id),
    order_sums.* exclude (customer_id),
    full_years(merged.birth_date) as age_years,
    (epoch(getvariable('as_of')) - epoch(order_sums.last_ordered_at)) / 86400.0
    / expected_interval(order_sums.purchase_interval_days, order_sums.order_count) as intervals_without,
    merged.normalised_email is not null and mailboxes.customer_id is null as is_email_shared,
    suppressed.customer_id is not null as is_email_suppressed,
    coalesce(order_sums.customer_id, web.customer_id, engagement.customer_id) is not null as has_acted,
    order_sums.customer_id is not null as has_ordered
from merged
left join mailboxes
    on merged.normalised_email = mailboxes.normalised_email and merged.customer_id = mailboxes.customer_id
left join (from channel_consents where channel = 'email' and consent_state in ('granted', 'withdrawn')) as emails
    on merged.customer_id = emails.customer_id
left join suppressed on merged.customer_id = suppressed.customer_id
left join order_sums on merged.customer_id = order_sums.customer_id
left join assortments on merged.customer_id = assortments.customer_id
left join web on merged.customer_id = web.customer_id
left join engagement on merged.customer_id = engagement.customer_id;

drop table merged;
drop table web;
drop table engagement;
drop table assortments;
drop table mailboxes;

create temp macro lifecycle(last_ordered_at, first_ordered_at, intervals_without) as
    case
        when last_ordered_at is null then 'prospect'
        when days_before(first_ordered_at) < 30 then 'new'
        when intervals_without <= 2 then 'active'
        when intervals_without <= 4 then 'at_risk'
        else 'churned'
    end;

create table marts.dim_customers as
select
    customer_id,
    email,
    first_name,
    last_name,
    phone,
    country_code,
    time_zone,
    case
        when age_years >= 65 then '65+' when age_years >= 55 then '55-64' when age_years >= 45 then '45-54'
        when age_years >= 35 then '35-44' when age_years >= 25 then '25-34' when age_years >= 19 then '19-24'
        when age_years >= 0 then '18 or younger'
    end as age_band,
    null::varchar as income_band,
    null::varchar as household_size_band,
    null::varchar as household_composition,
    loyalty_tier,
    lifecycle(last_ordered_at, first_ordered_at, intervals_without) as lifecycle_stage,
    coalesce(granted_or_withdrawn, 'none') as email_consent_status,
    consent_proof,
    suppression_reason as email_suppression_reason,
    nullif(array_to_string(try(from_json(preferences, '["varchar"]')), ','), '') as stated_preferences,
    favourite_category,
    preferred_device,
    nullif(split_part(first_touch, chr(31), 2), '') as first_touch_source,
    nullif(split_part(first_touch, chr(31), 3), '') as first_touch_medium,
    nullif(split_part(first_touch, chr(31), 4), '') as first_touch_campaign,
    nullif(split_part(last_touch, chr(31), 2), '') as last_touch_source,
    nullif(split_part(last_touch, chr(31), 3), '') as last_touch_medium,
    nullif(split_part(last_touch, chr(31), 4), '') as last_touch_campaign,
    'shop' as source_systems,
    email_source,
    coalesce(first_name_source, last_name_source) as name_source,
    phone_source,
    country_code_source as country_source,
    time_zone_source,
    birth_date_source as age_source,
    loyalty_tier_source as loyalty_source,
    preferences_source,
    case when has_ordered then 'shop' end as orders_source,
    age_years,
    preferred_visit_hour,
    coalesce(order_count, 0) as order_count,
    coalesce(order_count_90_days, 0) as order_count_90_days,
    rounded_money(coalesce(total_spend, 0)) as total_spend,
    rounded_money(coalesce(spend_365_days, 0)) as spend_365_days,
    rounded_money(coalesce(total_spend, 0)) as historical_lifetime_value,
    rounded_money(share(purchase_amount, order_count)) as average_order_value,
    share(refunded_amount, gross_amount) as refund_rate,
    purchase_interval_days::double as purchase_interval_days,
    expected_interval(purchase_interval_days, order_count)::double as expected_purchase_interval_days,
    coalesce(web_session_count, 0) as web_session_count,
    coalesce(web_sessions_30d, 0) as web_sessions_30d,
    coalesce(emails_delivered_count, 0) as emails_delivered_count,
    coalesce(emails_opened_count, 0) as emails_opened_count,
    coalesce(emails_clicked_count, 0) as emails_clicked_count,
    coalesce(emails_delivered_90d, 0) as emails_delivered_90d,
    coalesce(emails_opened_90d, 0) as emails_opened_90d,
    coalesce(emails_clicked_90d, 0) as emails_clicked_90d,
    email_open_rate,
    email_click_rate,
    record_count as source_customer_count,
    has_invalid_email,
    is_email_shared,
    is_email_suppressed,
    birth_date,
    email_consent_changed_at,
    least(first_seen_at, first_web_seen_at) as first_seen_at,
    greatest(first_seen_at, last_order_seen_at, last_web_seen_at, last_email_engaged_at) as last_seen_at,
    first_ordered_at,
    last_ordered_at,
    last_web_seen_at,
    last_email_engaged_at,
    last_described_at as demographics_updated_at,
    last_order_seen_at as transactions_updated_at,
    last_web_seen_at as behaviour_updated_at,
    greatest(last_email_delivered_at, last_email_engaged_at) as engagement_updated_at,
    greatest(email_consent_changed_at, suppressed_at) as consent_updated_at,
    getvariable('as_of') as as_of
from profiles;

create table marts.fct_customer_rfm as
with ranked as (
    select
        customer_id,
        days_before(last_ordered_at) as recency_days,
        order_count as frequency,
        total_spend as monetary,
        ntile(5) over (order by last_ordered_at, customer_id) as recency_score,
        ntile(5) over (order by order_count, customer_id) as frequency_score,
        ntile(5) over (order by total_spend, customer_id) as monetary_score
    from order_sums
    where order_count > 0
)
select
    ranked.customer_id,
    segments.rfm_code,
    segments.segment_key as rfm_segment_key,
    segments.segment_name as rfm_segment,
    segments.suggested_action,
    ranked.recency_days,
    ranked.frequency,
    rounded_money(ranked.monetary) as monetary,
    ranked.recency_score,
    ranked.frequency_score,
    ranked.monetary_score,
    getvariable('as_of') as as_of
from ranked
inner join read_csv(getvariable('seeds') || '/rfm_segments.csv', all_varchar = true) as segments
    on recency_score * 100 + frequency_score * 10 + monetary_score = segments.rfm_code::bigint;

create table marts.fct_customer_measures as
with percentiles as (
    select customer_id, percent_rank() over (order by total_spend) as spend_percentile
    from order_sums
    where order_count > 0
)
select
    customer_id,
    country_code,
    loyalty_tier,
    lifecycle(last_ordered_at, first_ordered_at, intervals_without) as lifecycle_stage,
    favourite_category,
    preferred_device,
    coalesce(granted_or_withdrawn, 'none') as email_consent_status,
    age_years,
    coalesce(order_count, 0) as order_count,
    coalesce(order_count_30_days, 0) as order_count_30_days,
    coalesce(order_count_90_days, 0) as order_count_90_days,
    coalesce(total_spend, 0)::double as total_spend,
    share(purchase_amount, order_count) as average_order_value,
    spend_percentile,
    coalesce(web_session_count, 0) as web_session_count,
    coalesce(web_sessions_30d, 0) as web_sessions_30d,
    coalesce(visit_days_30d, 0)::bigint as visit_days_30d,
    coalesce(product_views_7d, 0)::bigint as product_views_7d,
    coalesce(product_views_30d, 0)::bigint as product_views_30d,
    coalesce(product_view_days_30d, 0)::bigint as product_view_days_30d,
    coalesce(carts_30d, 0) as carts_30d,
    coalesce(checkouts_30d, 0) as checkouts_30d,
    coalesce(emails_delivered_count, 0) as emails_delivered_count,
    coalesce(emails_opened_count, 0) as emails_opened_count,
    coalesce(emails_clicked_count, 0) as emails_clicked_count,
    coalesce(emails_delivered_90d, 0) as emails_delivered_90d,
    coalesce(engagement_days_30d, 0) as email_engagement_days_30d,
    greatest(coalesce(visit_days_30d, 0), coalesce(engagement_days_30d, 0))::bigint as active_days_30d,
    share(coalesce(emails_opened_90d, 0), coalesce(emails_delivered_90d, 0)) as email_open_rate_90d,
    share(coalesce(emails_clicked_90d, 0), coalesce(emails_delivered_90d, 0)) as email_click_rate_90d,
    days_before(first_seen_at) as days_since_first_seen,
    days_before(last_ordered_at) as days_since_last_order,
    hours_before(last_ordered_at) as hours_since_last_order,
    days_before(last_web_seen_at) as days_since_last_web_visit,
    days_before(last_product_viewed_at) as days_since_last_product_view,
    hours_before(last_product_viewed_at) as hours_since_last_product_view,
    days_before(last_cart_added_at) as days_since_last_cart_addition,
    days_before(last_email_engaged_at) as days_since_last_email_engagement,
    -- Born on 29 February: on 1 March where the year has no such day.
    coalesce(
        strftime(birth_date, '%m-%d') = strftime(getvariable('zone_day'), '%m-%d')
        or (
            strftime(birth_date, '%m-%d') = '02-29'
            and strftime(getvariable('zone_day'), '%m-%d') = '03-01'
            and extract(day from getvariable('zone_day') - 1) <> 29
        ),
        false
    ) as is_birthday_today,
    coalesce(last_order_seen_at >= last_cart_added_at, false) as has_ordered_since_last_cart_addition,
    is_email_suppressed,
    getvariable('as_of') as as_of
from profiles
left join percentiles using (customer_id);

create table marts.dim_customer_segments as
select
    customer_id,
    unnested.segment[1] as segment_key,
    unnested.segment[2] as segment_name,
    'rule' as segment_kind,
    getvariable('as_of') as as_of
from (
    select
        customer_id,
        unnest([
            case when spend_percentile >= 0.9 and order_count >= 1 then ['high_value', 'High Value'] end,
            case when days_since_last_order < 30 then ['recent_purchasers', 'Recent Purchasers'] end,
            case when order_count_30_days >= 3 then ['monthly_buyers', '3+ Purchases Last Month'] end,
            case when order_count_90_days >= 4 then ['frequent_buyers', 'Frequent Buyers'] end,
            case when days_since_last_order >= 30 then ['lapsed_buyers', 'No Purchase for 30 Days'] end,
            case when average_order_value > 100 then ['big_baskets', 'Average Order over 100'] end,
            case when days_since_last_product_view < 7 then ['recent_browsers', 'Recent Browsers'] end,
            case when product_view_days_30d >= 4 then ['frequent_browsers', 'Frequent Browsers'] end,
            case when web_sessions_30d > 5 then ['frequent_visitors', 'More than 5 Visits a Month'] end,
            case when days_since_last_cart_addition < 7 and not has_ordered_since_last_cart_addition
                then ['recent_abandoners', 'Recent Abandoners'] end,
            case when hours_since_last_product_view < 48 and not coalesce(hours_since_last_order < 48, false)
                then ['viewed_not_bought', 'Viewed and Not Bought'] end,
            case
                when email_consent_status = 'granted' and emails_delivered_count >= 1
                    and coalesce(days_since_last_email_engagement >= 30, true)
                    then ['inactive_subscribers', 'Inactive Subscribers'] end,
            case when email_open_rate_90d >= 0.75 then ['keen_openers', 'Opened 75 % of Recent E-mails'] end,
            case when email_click_rate_90d > 0.5 then ['keen_clickers', 'Click Rate over 50 %'] end,
            case when email_click_rate_90d >= 0.5 and not coalesce(days_since_last_order < 30, false)
                then ['engaged_non_purchasers', 'Engaged Non-Purchasers'] end,
            case when order_count_90_days >= 1 and active_days_30d >= 8
                then ['high_engagement_buyers', 'High-Engagement Buyers'] end,
            case when days_since_last_order >= 182 and active_days_30d <= 1 then ['slipping_away', 'At-Risk'] end,
            case when active_days_30d >= 20 then ['engagement_high', 'Engagement High'] end,
            case when active_days_30d between 4 and 19 then ['engagement_moderate', 'Engagement Moderate'] end,
            case when active_days_30d between 1 and 3 then ['engagement_low', 'Engagement Low'] end,
            case when active_days_30d = 0 then ['engagement_inactive', 'Engagement Inactive'] end,
            case when is_birthday_today then ['birthday_today', 'Birthday Today'] end
        ]) as segment
    from marts.fct_customer_measures
) as unnested
where segment is not null
union all
select customer_id, rfm_segment_key, rfm_segment, 'rfm', getvariable('as_of')
from marts.fct_customer_rfm;

--------------------------------------------------------------------------------------------------------- features --

create temp macro most_frequent(value_column, group_column) as table
    select group_value, arg_min(filled, (-known, filled)) as filled
    from (
        select group_column as group_value, value_column as filled, count(*) as known
        from marts.dim_customers
        where value_column is not null and group_column is not null
        group by all
    )
    group by group_value;

create table features.customer_features as
with medians as (
    select age_band, quantile_disc(age_years, 0.5) as age_years
    from marts.dim_customers
    where age_years is not null and age_band is not null
    group by age_band
),

people as (
    select
        profiles.*,
        lifecycle(last_ordered_at, first_ordered_at, intervals_without) as lifecycle_stage,
        (from (select filled from most_frequent(country_code, 'all'))) as usual_country_code,
        coalesce(of_zone.filled, (from (select filled from most_frequent(time_zone, 'all')))) as usual_time_zone,
        (from (select filled from most_frequent(loyalty_tier, 'all'))) as usual_loyalty_tier,
        (from (select filled from most_frequent(favourite_category, 'all'))) as usual_favourite_category,
        (from (select filled from most_frequent(preferred_device, 'all'))) as usual_preferred_device,
        (select quantile_disc(age_years, 0.5) from profiles) as usual_age_years,
        coalesce(of_hour.filled, (from (select filled from most_frequent(preferred_visit_hour, 'all'))))
            as usual_preferred_visit_hour,
        month_of(getvariable('zone_day')) - month_of(utc_day(first_seen_at)) > 12 as is_known_for_a_year
    from profiles
    left join most_frequent(time_zone, country_code) as of_zone on profiles.country_code = of_zone.group_value
    left join most_frequent(preferred_visit_hour, country_code) as of_hour
        on profiles.country_code = of_hour.group_value
    where has_acted
)

select
    customer_id,
    coalesce(country_code, usual_country_code) as country_code,
    coalesce(time_zone, usual_time_zone) as time_zone,
    coalesce(loyalty_tier, usual_loyalty_tier) as loyalty_tier,
    coalesce(favourite_category, usual_favourite_category) as favourite_category,
    coalesce(preferred_device, usual_preferred_device) as preferred_device,
    lifecycle_stage,
    'shop' as source_systems,
    coalesce(age_years, usual_age_years) as age_years,
    coalesce(preferred_visit_hour, usual_preferred_visit_hour) as preferred_visit_hour,
    days_before(last_ordered_at) as recency_days,
    coalesce(order_count, 0) as frequency,
    rounded_money(coalesce(total_spend, 0)) as monetary,
    rounded_money(share(purchase_amount, order_count)) as average_order_value,
    days_before(first_seen_at) as tenure_days,
    purchase_interval_days::double as purchase_interval_days_mean,
    coalesce(distinct_products, 0) as distinct_products,
    nullif(category_count, 0) as distinct_categories,
    share(refunded_amount, gross_amount) as refund_rate,
    coalesce(order_count_7_days, 0) as orders_7d,
    rounded_money(coalesce(spend_7_days, 0)) as spend_7d,
    coalesce(order_count_30_days, 0) as orders_30d,
    rounded_money(coalesce(spend_30_days, 0)) as spend_30d,
    coalesce(order_count_90_days, 0) as orders_90d,
    rounded_money(coalesce(spend_90_days, 0)) as spend_90d,
    coalesce(order_count_365_days, 0) as orders_365d,
    rounded_money(coalesce(spend_365_days, 0)) as spend_365d,
    case when is_known_for_a_year then coalesce(order_count_month_year_ago, 0) end as orders_month_year_ago,
    rounded_money(case when is_known_for_a_year then coalesce(spend_month_year_ago, 0) end) as spend_month_year_ago,
    share(purchased_item_count, order_count) as items_per_order,
    rounded_money(largest_order_amount) as largest_order_amount,
    coalesce(refunded_order_count, 0) as refunded_orders,
    days_before(first_ordered_at) as days_since_first_order,
    favourite_category_share,
    category_entropy,
    coalesce(web_sessions_7d, 0) as web_sessions_7d,
    coalesce(product_views_7d, 0)::bigint as product_views_7d,
    coalesce(emails_delivered_7d, 0) as emails_delivered_7d,
    coalesce(emails_opened_7d, 0) as emails_opened_7d,
    coalesce(emails_clicked_7d, 0) as emails_clicked_7d,
    coalesce(web_sessions_30d, 0) as web_sessions_30d,
    coalesce(product_views_30d, 0)::bigint as product_views_30d,
    coalesce(emails_delivered_30d, 0) as emails_delivered_30d,
    coalesce(emails_opened_30d, 0) as emails_opened_30d,
    coalesce(emails_clicked_30d, 0) as emails_clicked_30d,
    coalesce(web_sessions_90d, 0) as web_sessions_90d,
    coalesce(product_views_90d, 0)::bigint as product_views_90d,
    coalesce(emails_delivered_90d, 0) as emails_delivered_90d,
    coalesce(emails_opened_90d, 0) as emails_opened_90d,
    coalesce(emails_clicked_90d, 0) as emails_clicked_90d,
    coalesce(web_sessions_365d, 0) as web_sessions_365d,
    coalesce(product_views_365d, 0)::bigint as product_views_365d,
    coalesce(emails_delivered_365d, 0) as emails_delivered_365d,
    coalesce(emails_opened_365d, 0) as emails_opened_365d,
    coalesce(emails_clicked_365d, 0) as emails_clicked_365d,
    coalesce(carts_30d, 0) as carts_30d,
    coalesce(checkouts_30d, 0) as checkouts_30d,
    coalesce(visit_days_30d, 0)::bigint as visit_days_30d,
    coalesce(product_view_days_30d, 0)::bigint as product_view_days_30d,
    coalesce(engagement_days_30d, 0) as engagement_days_30d,
    coalesce(email_order_count, 0) as email_order_count,
    mobile_session_share,
    days_before(last_web_seen_at) as days_since_last_web_visit,
    days_before(last_product_viewed_at) as days_since_last_product_view,
    days_before(last_cart_added_at) as days_since_last_cart_addition,
    days_before(last_checkout_started_at) as days_since_last_checkout,
    days_before(last_email_delivered_at) as days_since_last_email_delivered,
    days_before(last_email_opened_at) as days_since_last_email_opened,
    days_before(last_email_clicked_at) as days_since_last_email_clicked,
    share(coalesce(emails_opened_90d, 0), coalesce(emails_delivered_90d, 0)) as email_open_rate_90d,
    share(coalesce(emails_clicked_90d, 0), coalesce(emails_delivered_90d, 0)) as email_click_rate_90d,
    true as is_online_behaviour_observed,
    country_code is null and usual_country_code is not null as is_country_code_imputed,
    time_zone is null and usual_time_zone is not null as is_time_zone_imputed,
    loyalty_tier is null and usual_loyalty_tier is not null as is_loyalty_tier_imputed,
    favourite_category is null and usual_favourite_category is not null as is_favourite_category_imputed,
    preferred_device is null and usual_preferred_device is not null as is_preferred_device_imputed,
    age_years is null and usual_age_years is not null as is_age_years_imputed,
    preferred_visit_hour is null and usual_preferred_visit_hour is not null as is_preferred_visit_hour_imputed,
    getvariable('as_of') as as_of
from people;

drop table profiles;

--------------------------------------------------------------------------------------------------- reconciliation --

-- A consent of nobody is refused too.
insert into refused
select
    'consents',
    row_key(consent_rows.consent_id, consent_rows._row_hash),
    'unknown_customer',
    consent_rows.recorded_at,
    consent_rows.load
from consent_rows
anti join people using (source_customer_key)
where reason is null and not is_later and version = 1;

create table marts.fct_quarantined_rows as
with judged as (
    select 'crm' as source_name, 'customers' as entity_name, row_key, reason, event_at, load, is_later
    from customers_refused
    union all
    select 'shop', 'orders', row_key, reason, event_at, load, is_later
    from orders_refused
    union all
    select
        'shop', 'order_lines', row_key(order_line_id, _row_hash), reason, updated_at, load_of(filename),
        coalesce(updated_at > getvariable('as_of'), false)
    from order_lines()
    where reason is not null
    union all
    select
        'shop', 'refunds', row_key(refund_id, _row_hash), reason, known_at, load,
        coalesce(known_at > getvariable('as_of'), false)
    from refund_rows
    union all
    select
        'catalogue', 'products', row_key(product_id, _row_hash), reason, updated_at, load,
        coalesce(updated_at > getvariable('as_of'), false)
    from product_rows
    union all
    select
        'crm', 'consents', row_key(consent_id, _row_hash), reason, recorded_at, load,
        coalesce(recorded_at > getvariable('as_of'), false)
    from consent_rows
    union all
    select 'web', 'events', row_key, reason, occurred_at, load, is_later
    from web_refused
    union all
    select 'email', 'events', row_key, reason, occurred_at, load, is_later
    from mails_refused
)
select
    source_name,
    entity_name,
    row_key,
    reason,
    count(*) as row_count,
    min(event_at) as event_at,
    load as _load_sequence
from judged
where reason is not null and not is_later
group by source_name, entity_name, row_key, reason, load
union all
select case entity_name when 'consents' then 'crm' else 'shop' end, entity_name, row_key, reason, 1, event_at, load
from refused
union all
select 'web', 'events', row_key(message_id, keyed_hash(message_id)), 'bot', 1, occurred_at, load
from bot_events;

create temp macro fate(is_later, reason, is_repeated, repeated) as
    case
        when coalesce(is_later, false) then 'after_as_of'
        when reason is not null then 'quarantined:' || reason
        when is_repeated then repeated
    end;

-- Counted is what is not simply used: used, or superseded, is what is left of the landed rows.
create table marts.fct_source_reconciliation as
with landed_rows as (
    select
        split_part(parse_filename(file_name), '__', 1) as source_name,
        split_part(split_part(parse_filename(file_name), '__', 2), '-', 1) as entity_name,
        sum(num_rows)::bigint as row_count
    from parquet_file_metadata(getvariable('landed') || '/*.parquet')
    group by all
    union all
    -- The sources of other companies, which have landed nothing.
    select unnest(['local_esp', 'online_retail']), unnest(['events', 'invoice_lines']), 0
    union all
    select
        'complete_journey',
        unnest([
            'campaign_descriptions', 'campaigns', 'coupon_redemptions', 'coupons', 'demographics', 'products',
            'transactions'
        ]),
        0
),

fates as (
    select 'web' as source_name, 'events' as entity_name, fate(is_later, reason, false, null) as disposition
    from web_refused
    union all
    select 'web', 'events', 'duplicate' from web_copies where not is_later
    union all
    select 'web', 'events', 'quarantined:bot' from bot_events
    union all
    select 'email', 'events', fate(is_later, reason, false, null) from mails_refused
    union all
    select 'email', 'events', 'duplicate' from mail_copies where not is_later
    union all
    select 'crm', 'customers', fate(is_later, reason, false, null) from customers_refused
    union all
    select 'crm', 'consents', fate(recorded_at > getvariable('as_of'), reason, version > 1, 'duplicate')
    from consent_rows
    union all
    select 'catalogue', 'products', fate(updated_at > getvariable('as_of'), reason, version > 1, 'superseded')
    from product_rows
    union all
    select 'shop', 'refunds', fate(known_at > getvariable('as_of'), reason, version > 1, 'superseded')
    from refund_rows
    union all
    select 'shop', 'orders', fate(is_later, reason, false, null) from orders_refused
    union all
    select 'shop', 'orders', case when shop_customer_id is null then 'used:guest' else 'used' end from orders
    union all
    select 'shop', 'order_lines', fate(updated_at > getvariable('as_of'), reason, false, null)
    from order_lines()
    where reason is not null or updated_at > getvariable('as_of')
    union all
    select 'shop', 'order_lines', 'superseded' from older_lines
    union all
    select case entity_name when 'consents' then 'crm' else 'shop' end, entity_name, 'quarantined:' || reason
    from refused
),

counted as (
    select source_name, entity_name, disposition, count(*) as row_count
    from fates
    where disposition is not null
    group by all
    union all
    select 'crm', 'customers', 'used', getvariable('customer_count')
),

rest as (
    select
        landed_rows.source_name,
        landed_rows.entity_name,
        case when landed_rows.entity_name in ('orders', 'customers') then 'superseded' else 'used' end as disposition,
        any_value(landed_rows.row_count) - coalesce(sum(counted.row_count), 0) as row_count
    from landed_rows
    left join counted using (source_name, entity_name)
    group by landed_rows.source_name, landed_rows.entity_name
),

united as (
    select source_name, entity_name, 'landed' as disposition, row_count from landed_rows
    union all
    from counted
    union all
    from rest where row_count <> 0
)

select
    source_name,
    entity_name,
    disposition,
    row_count::bigint as row_count,
    case
        when disposition = 'landed' then 'landed'
        when disposition = 'used' or starts_with(disposition, 'used:') then 'used'
        when starts_with(disposition, 'quarantined:') then 'quarantined'
        when disposition in ('duplicate', 'superseded') then 'repeated'
        when disposition = 'after_as_of' then 'not_yet'
    end as disposition_kind
from united;

"""What sources write becomes what it means, or null and never a guess; and every landed row has a fate."""

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from landed_rows import WITHOUT_TESTS, Landing, declared_schemas, rows_as_table
from small_shop import account

NO_BREAK = "\N{NO-BREAK SPACE}"
UNSEEN = "\N{ZERO WIDTH SPACE}"
WIDE_MAIL = "\uff21nn\uff20example\uff0ecom"
ARABIC = "\u0660\u0662\u0660 \u0667\u0669\u0664\u0666 \u0660\u0660\u0661\u0668"

PHONES = [
    # country, as written, in E.164
    ("GB", "+44 (0)20 7946 0018", "+442079460018"),
    ("GB", "+44 20 7946 0018", "+442079460018"),
    ("GB", "(+44) 020-7946-0018", "+442079460018"),
    ("GB", "0044 20 7946 0018", "+442079460018"),
    ("GB", "020 7946 0018", "+442079460018"),
    ("GB", "(020) 7946.0018", "+442079460018"),
    ("GB", f" 020{NO_BREAK}7946{UNSEEN}0018 ", "+442079460018"),
    ("GB", "Tel.: 020 7946 0018", "+442079460018"),
    ("GB", "tel:+44-20-7946-0018", "+442079460018"),
    ("GB", "020 7946 0018 ext. 12", "+442079460018"),
    ("GB", "020 7946 0018x12", "+442079460018"),
    ("GB", "020\N{EN DASH}7946\N{NON-BREAKING HYPHEN}0018", "+442079460018"),
    ("GB", ARABIC, "+442079460018"),
    ("GB", "\uff0b\uff14\uff14 20 7946 0018", "+442079460018"),
    ("GB", "442079460018", "+442079460018"),  # the plus was forgotten
    ("GB", "7700900123", "+447700900123"),  # a spreadsheet ate the 0
    ("GB", "+1 (202) 555-0123", "+12025550123"),  # the sign says more than the account's country
    ("US", "(202) 555-0123", "+12025550123"),
    ("US", "1-202-555-0123 extension 7", "+12025550123"),
    ("US", "202.555.0123 #7", "+12025550123"),
    ("US", "011 44 20 7946 0018", "+442079460018"),
    ("AU", "0011 44 20 7946 0018", "+442079460018"),
    ("AU", "0491 570 156", "+61491570156"),
    ("DE", "030/23125-123", "+493023125123"),
    ("DE", "+49 (0) 30 23125 123", "+493023125123"),
    ("FR", "06 39 98 12 34", "+33639981234"),
    ("IT", "06 0000 1234", "+390600001234"),  # Italy keeps its 0
    ("IT", "+39 06 0000 1234", "+390600001234"),
    ("RU", "8 (912) 345-67-89", "+79123456789"),
    ("HU", "06 1 234 5678", "+3612345678"),
    ("KZ", "+7 701 234 5678", "+77012345678"),
    ("United Kingdom", "020 7946 0018", "+442079460018"),
    (None, "+44 20 7946 0018", "+442079460018"),
    # what is no number, or could be two
    (None, "020 7946 0018", None),
    (None, "0044 20 7946 0018", None),
    ("Atlantis", "020 7946 0018", None),
    ("DE", "23125123", None),  # without area code
    ("GB", "7946 0018", None),
    ("US", "06 39 98 12 34", None),  # a French number
    ("US", "1234567890", None),
    ("GB", "020 7946 0018 / 07700 900123", None),
    ("GB", "0000000000", None),
    ("GB", "+44", None),
    ("GB", "+999 20 7946 0018", None),
    ("GB", "n/a", None),
    ("GB", "call me", None),
    ("GB", "0800 FLOWERS", None),
    ("GB", "ann@example.com", None),
    ("GB", "", None),
    ("GB", None, None),
]

NAMES = [
    # first and last name as written, as greeted
    ("zoë", "O'BRIEN", "Zoë", "O'Brien"),
    ("JEAN-LUC", "mcdonald", "Jean-Luc", "McDonald"),
    ("anna maria", "VAN DER BERG", "Anna Maria", "van der Berg"),
    ("Anna", "van der Berg", "Anna", "van der Berg"),
    ("DeShawn", "MacLeod", "DeShawn", "MacLeod"),
    ("luca", "d'angelo", "Luca", "D'Angelo"),
    ("maría", "de la cruz", "María", "de la Cruz"),
    ("li", "van", "Li", "Van"),  # a particle is a name where nothing follows
    ("JJ", "SMITH-JONES", "JJ", "Smith-Jones"),
    ("J", "NG", "J", "Ng"),
    ("MR JOHN", "SMITH", "John", "Smith"),
    ("Dr. Anna", "Meyer", "Anna", "Meyer"),
    ("Prof. Dr. Karl", "Groß", "Karl", "Groß"),
    ("Mrs", "Patel", None, "Patel"),
    ("Drew", "Msika", "Drew", "Msika"),
    (f" Zoe\N{COMBINING DIAERESIS}{NO_BREAK}Ann{UNSEEN} ", "van  den   Berg", "Zoë Ann", "van den Berg"),
    ("\uff21nn", "\u738b", "Ann", "\u738b"),
    ("n/a", "-", None, None),
    ("TEST", "Null", None, None),
    ("", "   ", None, None),
    (None, None, None, None),
    ("ann@example.com", "Smith", None, "Smith"),
    ("Win at http://example.com", "www.example.com", None, None),
    ("<b>Ann</b>", "Smith 20794", None, None),
]

EMAILS = [
    # as written, as sent to, as joined by, whether mail can be sent
    ("ann@example.com", "ann@example.com", "ann@example.com", True),
    (f"  Ann+Shop@Example.COM{NO_BREAK}", "ann+shop@example.com", "ann@example.com", True),
    ("Ann Smith <ann@example.com>", "ann@example.com", "ann@example.com", True),
    ("<ann@example.com>", "ann@example.com", "ann@example.com", True),
    ("mailto:ann@example.com?subject=Hi", "ann@example.com", "ann@example.com", True),
    ('"ann@example.com"', "ann@example.com", "ann@example.com", True),
    ("'ann@example.com'", "ann@example.com", "ann@example.com", True),
    ("o'neill@example.com", "o'neill@example.com", "o'neill@example.com", True),
    ("ann@example.com.", "ann@example.com", "ann@example.com", True),
    ("ann@example.com;", "ann@example.com", "ann@example.com", True),
    (WIDE_MAIL, "ann@example.com", "ann@example.com", True),
    ("ann@example\u3002com", "ann@example.com", "ann@example.com", True),
    (f"ann{UNSEEN}@example.com\ufeff", "ann@example.com", "ann@example.com", True),
    ("zoe\u0308@example.com", "zoë@example.com", "zoë@example.com", True),
    ("Ann@EXÄMPLE.com", "ann@exämple.com", "ann@exämple.com", True),
    ("ann@xn--exmple-cua.example", "ann@xn--exmple-cua.example", "ann@xn--exmple-cua.example", True),
    ("ann@example.com, bob@example.com", "ann@example.com, bob@example.com", None, False),
    ("ann @example.com", "ann @example.com", "ann @example.com", False),
    ("ann@@example.com", "ann@@example.com", "ann@@example.com", False),
    ("ann@example", "ann@example", "ann@example", False),
    ("ann@example..com", "ann@example..com", "ann@example..com", False),
    ('an"n@example.com', 'an"n@example.com', 'an"n@example.com', False),
    ("ann", "ann", "ann", False),
    ("<>", None, None, False),
    ("  ", None, None, False),
    (None, None, None, False),
]

COUNTRIES = [
    ("GB", "GB"), ("gb", "GB"), ("UK", "GB"), ("u.k.", "GB"), ("GBR", "GB"), ("England", "GB"),
    ("united  kingdom", "GB"), ("US", "US"), ("U.S.A.", "US"), ("usa", "US"),
    ("United States of America", "US"), ("DEUTSCHLAND", "DE"), ("Germany", "DE"), ("DEU", "DE"),
    ("The Netherlands", "NL"), ("Holland", "NL"), ("EIRE", "IE"), ("España", "ES"), ("Espana", "ES"),
    ("Czech Republic", "CZ"), ("Viet Nam", "VN"), ("Korea, Republic of", "KR"), ("Côte d'Ivoire", "CI"),
    ("Türkiye", "TR"), ("turkey", "TR"), ("NA", "NA"), ("no", "NO"), ("Channel Islands", None),
    ("European Community", None), ("Unspecified", None), ("Atlantis", None), ("", None), (None, None),
]  # fmt: skip


def oracle_numbers() -> list[tuple[str, bool, str, str | None]]:
    """Example numbers of every country in the ways they are written: country, whether a person has such a number,
    the text, and what Google's libphonenumber reads in it."""
    import phonenumbers
    from phonenumbers import PhoneNumberFormat as Format
    from phonenumbers import PhoneNumberType as Type

    rows = []
    for country in sorted(phonenumbers.SUPPORTED_REGIONS - {"AC", "TA"}):  # islands without a code of ISO 3166
        for kind in (Type.FIXED_LINE, Type.MOBILE, Type.TOLL_FREE, Type.SHARED_COST, Type.VOIP, Type.PERSONAL_NUMBER):
            number = phonenumbers.example_number_for_type(country, kind)
            if number is None:
                continue
            abroad = "FR" if country == "GB" else "GB"
            written = [(country, phonenumbers.format_number(number, one)) for one in range(4)]
            written.append((country, f"{written[Format.INTERNATIONAL][1]} ext. 12"))
            written.append((abroad, phonenumbers.format_out_of_country_calling_number(number, abroad)))
            for home, text in written:
                read = phonenumbers.parse(text, home)
                meant = phonenumbers.format_number(read, Format.E164) if phonenumbers.is_possible_number(read) else None
                rows.append((home, kind in (Type.FIXED_LINE, Type.MOBILE), text, meant))
    return rows


def anything(schema: pa.Schema) -> list[dict]:
    """Rows of an entity whatever it is about: the same twice, nothing but nulls twice, one of tomorrow, an odd one."""

    def row(text: str, number: int, when: datetime) -> dict:
        values = {}
        for field in schema:
            if pa.types.is_boolean(field.type):
                values[field.name] = True
            elif pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
                values[field.name] = number
            elif pa.types.is_timestamp(field.type):
                values[field.name] = when if field.type.tz else when.replace(tzinfo=None)
            elif pa.types.is_date(field.type):
                values[field.name] = when.date()
            else:
                values[field.name] = "GBP" if field.name == "currency" else text
        return values

    past, future = datetime(2011, 6, 1, tzinfo=UTC), datetime(2011, 8, 1, tzinfo=UTC)
    # An address and a name where an id should be: what quarantine must not tell.
    return [
        row("A1", 5, past),
        row("A1", 5, past),
        {},
        {},
        row("B1", 5, future),
        row("Ann <ann@example.com>", -1, past),
    ]


@pytest.fixture(scope="module")
def numbers() -> list[tuple[str, bool, str, str | None]]:
    return oracle_numbers()


@pytest.fixture(scope="module")
def shop(tmp_path_factory, numbers) -> Landing:
    """Every case as an account, and rows of any kind in every entity that any source declares."""
    landing = Landing(tmp_path_factory.mktemp("cleaning"))
    accounts = [account(f"P{i}", None, country_code=land, phone=text) for i, (land, text, _) in enumerate(PHONES)]
    accounts += [account(f"N{i}", None, first_name=row[0], last_name=row[1]) for i, row in enumerate(NAMES)]
    accounts += [account(f"E{i}", row[0]) for i, row in enumerate(EMAILS)]
    accounts += [account(f"C{i}", None, country_code=row[0]) for i, row in enumerate(COUNTRIES)]
    accounts += [account(f"O{i}", None, country_code=row[0], phone=row[2]) for i, row in enumerate(numbers)]
    landing.load(crm__customers=accounts)
    outside = {name: schema for name, schema in declared_schemas().items() if name[0] not in ("history", "scores")}
    for _ in range(2):
        landing.load(
            **{f"{source}__{entity}": rows_as_table(anything(of), of) for (source, entity), of in outside.items()}
        )
    marts = ("+fct_source_reconciliation", "+fct_quarantined_rows")
    built = landing.dbt("build", "--select", *marts, *WITHOUT_TESTS)
    assert built.success, [one.message for one in built.result if one.status == "error"]
    return landing


def cleaned(shop: Landing, letter: str, columns: str) -> list[tuple]:
    """What became of the cases of one kind, in their order."""
    found = shop.query(
        f"select shop_customer_id, {columns} from staging.stg_crm__customers "
        f"where disposition = 'used' and regexp_matches(shop_customer_id, '^{letter}[0-9]+$')"
    )
    return [row[1:] for row in sorted(found, key=lambda row: int(row[0][1:]))]


def test_a_telephone_number_is_e164_or_null_and_what_was_written_stays(shop):
    found = cleaned(shop, "P", "country_as_given, phone_as_given, phone")
    assert found == PHONES


def test_numbers_are_read_as_google_s_library_reads_them_and_never_as_another(shop, numbers):
    seen = Counter()
    for (home, is_personal, text, meant), (phone,) in zip(numbers, cleaned(shop, "O", "phone"), strict=True):
        verdict = "same" if phone == meant else "missed" if phone is None else "different"
        seen[is_personal, verdict] += 1
        assert verdict != "different", (home, text, meant, phone)
    # What is missed: services that begin with a 1 or are shorter than people's numbers, and Argentine mobiles.
    assert seen[True, "same"] > 2_800
    assert seen[True, "missed"] <= 0.005 * seen[True, "same"]
    assert seen[False, "missed"] <= 0.2 * seen[False, "same"]


def test_names_are_written_as_people_write_them(shop):
    assert cleaned(shop, "N", "first_name, last_name") == [row[2:] for row in NAMES]


def test_an_address_is_the_same_however_it_was_typed_and_goes_out_only_where_the_audits_let_it(shop):
    from expectations.suites.check import EMAIL

    found = cleaned(shop, "E", "email_as_given, sendable_email, normalised_email, is_email_valid")
    for (given, sendable, normalised, valid), case in zip(found, EMAILS, strict=True):
        assert (given, sendable, valid) == (case[0], case[1], case[3]), case
        assert normalised == case[2] or not valid, case
        assert not valid or re.search(EMAIL, sendable), case


def test_a_country_is_its_iso_code_whatever_it_was_called(shop):
    assert cleaned(shop, "C", "country_as_given, country_code") == COUNTRIES


def test_every_country_that_online_retail_names_is_known_as_before(shop):
    codes = "GB IE DE FR NL ES BE CH AU PT NO CY IT FI JP HK SE PL DK AT SG IS GR CA MT LB IL LT BR AE US BH CZ SA ZA"
    names = (
        "United Kingdom,EIRE,Germany,France,Netherlands,Spain,Belgium,Switzerland,Australia,Portugal,Norway,Cyprus,"
        "Italy,Finland,Japan,Hong Kong,Sweden,Poland,Denmark,Austria,Singapore,Iceland,Greece,Canada,Malta,Lebanon,"
        "Israel,Lithuania,Brazil,United Arab Emirates,USA,Bahrain,Czech Republic,Saudi Arabia,RSA"
    )
    wanted = dict(zip(names.split(","), codes.split(), strict=True))
    wanted |= dict.fromkeys(("Channel Islands", "European Community", "Unspecified"))
    found = dict(shop.query("select country_name, country_code from seeds.country_names"))
    assert {name: found[name] for name in wanted} == wanted


def test_the_seeds_of_countries_hold_every_country_and_agree_with_each_other(shop):
    assert shop.query("select count(*), count(calling_code) from seeds.countries") == [(250, 243)]
    tests = (
        "assert_country_names_are_unambiguous",
        "assert_every_country_is_found_by_its_codes_and_name",
        "assert_a_calling_code_has_one_main_country",
        "countries,resource_type:test",
    )
    found = shop.dbt("test", "--select", *tests)
    assert found.success, found.exception
    assert len(found.result) >= len(tests)


def fates(shop: Landing) -> dict[tuple[str, str], Counter]:
    found = defaultdict(Counter)
    for source, entity, kind, rows in shop.query(
        "select source_name, entity_name, disposition_kind, row_count from marts.fct_source_reconciliation"
    ):
        found[source, entity][kind] += rows
    return found


def test_every_row_of_every_source_is_used_repeated_quarantined_or_not_yet_due(shop, numbers):
    found = fates(shop)
    assert set(found) == {name for name in declared_schemas() if name[0] not in ("history", "scores")}
    cases = len(PHONES) + len(NAMES) + len(EMAILS) + len(COUNTRIES) + len(numbers)
    for (source, entity), kinds in found.items():
        assert kinds["landed"] == 12 + (cases if (source, entity) == ("crm", "customers") else 0), (source, entity)
        assert kinds["landed"] == sum(kinds.values()) - kinds["landed"], (source, entity, kinds)
        assert kinds["quarantined"] > 0, (source, entity, kinds)
    assert {name for name, kinds in found.items() if kinds["repeated"]} > {("crm", "customers"), ("web", "events")}


def test_an_event_of_tomorrow_is_not_yet_due(shop):
    for name, schema in declared_schemas().items():
        if any(pa.types.is_timestamp(field.type) for field in schema) and name[0] not in ("history", "scores"):
            assert fates(shop)[name]["not_yet"] == 2, name


def test_each_quarantined_row_is_listed_with_its_reason_and_without_personal_data(shop):
    tests = (
        "assert_landed_rows_are_accounted_for",
        "assert_quarantined_rows_are_those_of_the_reconciliation",
        "fct_quarantined_rows,resource_type:test",
    )
    assert shop.dbt("test", "--select", *tests).success
    found = shop.query("select row_key, reason, row_count from marts.fct_quarantined_rows")
    assert {rows for _, _, rows in found} == {1, 2}  # two rows of nothing but nulls are one another's copy
    assert [row for row in found if re.search(r"[@ <]", f"{row[0]}{row[1]}")] == []
    reasons = {
        (source, entity)
        for source, entity, _ in shop.query(
            "select distinct source_name, entity_name, reason from marts.fct_quarantined_rows"
        )
    }
    assert reasons == set(fates(shop))


def test_a_row_leaves_quarantine_when_what_it_lacked_arrives(shop):
    from small_shop import line, order

    def listed() -> list[tuple]:
        models = ("stg_shop__orders", "stg_shop__order_lines", "int_shop_rows_refused", "int_rows_refused")
        assert shop.dbt("run", "--select", *models, "fct_quarantined_rows").success
        return shop.query("select reason from marts.fct_quarantined_rows where row_key = 'L1'")

    shop.load(shop__order_lines=[line("L1", "O1", "P1", 1, 10.0, "2011-06-01")])
    assert listed() == [("unknown_order",)]
    shop.load(shop__orders=[order("O1", "C1", "ann@example.com", 10.0, "2011-06-01")])
    assert listed() == []

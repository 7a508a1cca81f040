"""The whole line through Airflow: what it says is what was there, it does nothing twice, and a fault stops it.

One story is told once (`story`), and every test looks at it. The counts that it is held against are made by plain
SQL over the original invoices and by plain code over the shop's API; nothing of dbt's is used for them.
"""

import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import duckdb
import httpx
import pytest
from line import Line, Pass, running_line
from shortcuts import quick_models, without_dbt_tests

from letterpress.operations import report
from letterpress.settings import REPOSITORY
from letterpress.sources import landing
from letterpress.warehouse import build, publish
from ml import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]  # the story, on a machine that does much else

RETAIL = REPOSITORY.parent / "shared" / "data" / "online_retail"
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"}
ADDRESSES = {"open": "t/o", "click": "t/c", "unsubscribe": "u"}
WITHOUT_DOCUMENTATION = (
    "ingest",
    "warehouse_features",
    "models_train",
    "models_score",
    "warehouse_activation",
    "sync_local_esp",
    "sync_klaviyo",
    "campaign_champions_thank_you",
)
BEFORE_SENDING = ("pull_suppressions", "pin_activation", "plan")
# What the ESP is told about a person: columns of the audience by the name that the ESP knows.
FIELDS = {
    "first_name": "first_name",
    "country_code": "country",
    "time_zone": "time_zone",
    "loyalty_tier": "loyalty_tier",
    "favourite_category": "favourite_category",
    "order_count_band": "orders",
    "rfm_code": "rfm_code",
    "rfm_segment": "rfm_segment",
    "cluster": "cluster",
    "clv_tier": "lifetime_value_tier",
    "clv_decile": "lifetime_value_decile",
}


@dataclass(frozen=True)
class State:
    """Everything that a pass may change, as it stood after one."""

    loads: dict[int, dict]
    cursors: dict[str, dict]
    versions: dict[str, str | None]
    profiles: dict[str, tuple]
    requests: set[str]
    suppressed: set[str]
    messages: list[tuple]
    events: int
    ledger: list[tuple]
    sends: list[tuple]
    audience: dict[str, dict]
    people: dict[str, dict]


@dataclass
class Story:
    """The passes in their order, and what stood after each."""

    line: Line
    passes: dict[str, Pass] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    plans: dict[str, dict] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    eligible: dict[str, set[str]] = field(default_factory=dict)
    reader: str = ""
    leaver: str = ""

    def tell(self, name: str, *stages: str) -> None:
        """Run stages and keep what they did and left."""
        before = report.snapshot(self.line.settings)
        self.passes[name] = self.line.run(*stages)
        self.states[name] = look(self.line)
        self.plans[name] = newest_plan(self.line)
        self.reports[name] = report.render(self.line.settings, before=before, line=None)
        self.eligible[name] = eligible(self.line)


def look(line: Line) -> State:
    at = line.settings.landing
    manifests = list(landing.manifests(at))
    columns = ("customer_id", "email", "is_eligible", "refusal_reason", "segments", *FIELDS)
    people = ("email_consent_status", "is_email_suppressed", "emails_opened_count", "emails_clicked_count")
    people = ("customer_id", "source_systems", "order_count", *people, "emails_delivered_count")
    return State(
        loads={one.load_sequence: one.to_json() for one in manifests},
        cursors={
            one.source: {name: entity.cursor for name, entity in one.entities.items()}
            for one in sorted(manifests, key=lambda one: one.load_sequence)
        },
        versions={channel: publish.current(line.settings.published, channel) for channel in publish.CHANNELS},
        profiles={row[0]: row[1:] for row in line.esp_rows("select * from profiles order by external_id")},
        requests={row[0] for row in line.esp_rows("select idempotency_key from requests")},
        suppressed={row[0] for row in line.esp_rows("select external_id from suppressions where lifted_at is null")},
        messages=line.esp_rows("select campaign_id, external_id, message_id, accepted_at from messages order by 1, 2"),
        events=line.esp_rows("select count(*) from events")[0][0],
        ledger=line.store_rows(
            "select destination, facet, customer_id, acknowledged, state, pending, revision, batch_id from ledger"
            " order by 1, 2, 3"
        ),
        sends=line.store_rows("select * from sends order by campaign_id, customer_id"),
        audience={
            row[0]: dict(zip(columns, row, strict=True))
            for row in line.published(f"select {', '.join(columns)} from activation.sync_customers")
        },
        people={
            row[0]: dict(zip(people, row, strict=True))
            for row in line.published(f"select {', '.join(people)} from marts.dim_customers")
        },
    )


def newest_plan(line: Line) -> dict:
    written = (Path(line.settings.plans) / "local_esp").glob("*.json")
    files = [file for file in written if not file.name.endswith(".result.json")]
    return json.loads(max(files, key=lambda file: file.stat().st_mtime_ns).read_text())


def normalised(email: str | None) -> str | None:
    text = (email or "").strip(" ").lower()
    return text if re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*\.[^@\s.]{2,}", text) else None


def eligible(line: Line) -> set[str]:
    """The addresses that may be written to, from the shop's API and the ESP's events alone.

    A person is an address. Of each account the last record counts, of a person's accounts the strictest; a
    complaint and a hard bounce stop for good, an unsubscribe until the person opts in again.
    """
    shop = line.shop
    address = {row["customer_id"]: normalised(row["email"]) for row in shop.rows("customers")}
    last: dict[str, tuple] = {}
    opted_in: dict[str, str] = {}
    for row in shop.rows("consents"):
        person = address[row["customer_id"]]
        record = (row["recorded_at"], row["status"] == "withdrawn")
        last[row["customer_id"]] = max(last.get(row["customer_id"], record), record)
        if row["status"] == "granted" and row["source"] != "unsubscribe_link":
            opted_in[person] = max(opted_in.get(person, ""), row["recorded_at"])
    consents: dict[str, list[bool]] = {}
    for customer, (_, is_withdrawn) in last.items():
        consents.setdefault(address[customer], []).append(not is_withdrawn)
    stopped = set()
    own = line.esp_rows(
        "select recipient_key, event_type, bounce_type, occurred_at from events join messages using (message_id)"
    )
    theirs = [
        (address.get(row["customer_id"]), row["event_type"], row["bounce_type"], row["occurred_at"])
        for row in shop.rows("email_events")
        if row["event_type"] != "bounce" or normalised(row["email"]) == address.get(row["customer_id"])
    ]
    for person, kind, bounce, at in own + theirs:
        is_final = kind == "complaint" or (kind == "bounce" and bounce == "hard")
        if is_final or (kind == "unsubscribe" and opted_in.get(person, "") <= at):
            stopped.add(person)
    return {person for person, granted in consents.items() if person and all(granted)} - stopped


def payload(row: dict) -> tuple:
    """What the ESP should hold of a person of the audience."""
    attributes = {name: row[column] for column, name in FIELDS.items() if row[column] is not None}
    return row["email"], attributes, sorted(filter(None, row["segments"].split(",")))


def held(profile: tuple) -> tuple:
    """What the ESP holds, without the attributes that it was told are empty."""
    email, _, attributes, segments, _ = profile
    filled = {name: value for name, value in json.loads(attributes).items() if value is not None}
    return email, filled, sorted(json.loads(segments))


def addresses_in(line: Line, message_id: str) -> dict[str, str]:
    """Pixel, first tracked link and unsubscribe address of a mail, as its recipient finds them."""
    body = httpx.get(f"{line.esp.base_url}/messages/{message_id}/body").raise_for_status().text
    found = {name: re.search(rf"/{path}/[\w.-]+", body) for name, path in ADDRESSES.items()}
    return {name: match[0] for name, match in found.items()}


def read_and_leave(story: Story) -> None:
    """One recipient opens and clicks, another one unsubscribes."""
    line, messages = story.line, story.states["first"].messages
    (_, story.reader, read, _), (_, story.leaver, left, _) = messages[0], messages[1]
    here = addresses_in(line, read)
    httpx.get(line.esp.base_url + here["open"], headers=PERSON).raise_for_status()
    assert httpx.get(line.esp.base_url + here["click"], headers=PERSON).status_code == 302
    there = addresses_in(line, left)["unsubscribe"]
    httpx.post(line.esp.base_url + there, data={"List-Unsubscribe": "One-Click"}).raise_for_status()


def order_with(shop_home: Path, **changed) -> dict:
    """Change the newest order in the shop's database; returns it as it was, to be put back."""
    with closing(sqlite3.connect(shop_home / "shop" / "orders.sqlite", timeout=60)) as connection, connection:
        names = ", ".join(("order_id", *changed))
        row = connection.execute(f"select {names} from orders order by updated_at desc, order_id limit 1").fetchone()
        changes = ", ".join(f"{name} = ?" for name in changed)
        connection.execute(f"update orders set {changes} where order_id = ?", (*changed.values(), row[0]))
    return dict(zip(("order_id", *changed), row, strict=True))


def put_back(shop_home: Path, row: dict) -> None:
    with closing(sqlite3.connect(shop_home / "shop" / "orders.sqlite", timeout=60)) as connection, connection:
        changes = ", ".join(f"{name} = :{name}" for name in row)
        connection.execute(f"update orders set {changes} where order_id = :order_id", row)


def project_without_a_code(folder: Path) -> Path:
    """The dbt project after a marketer has deleted a row of the RFM seed."""
    copy = folder / "dbt_project"
    shutil.copytree(REPOSITORY / "dbt_project", copy, ignore=shutil.ignore_patterns("target", "logs"))
    seed = copy / "seeds" / "rfm_segments.csv"
    seed.write_text("\n".join(row for row in seed.read_text().splitlines() if not row.startswith("555,")) + "\n")
    return copy


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, airflow_database: None) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("line")
    retail = RETAIL if RETAIL.is_dir() else None
    with (
        running_line(home, customers=250, days=200, online_retail=retail) as line,
        pytest.MonkeyPatch.context() as patch,
        pytest.MonkeyPatch.context() as models,
    ):
        models.setattr("ml.config.DEFAULT", Path(quick_models()))
        story = Story(line)
        story.tell("first")
        read_and_leave(story)
        story.tell("left", "sync_local_esp", "campaign_champions_thank_you")
        with without_dbt_tests():  # the first pass has run them; one more does where a code is missing
            story.tell("second", *WITHOUT_DOCUMENTATION)
            story.tell("third", *WITHOUT_DOCUMENTATION)
        row = order_with(home, status="teleported")
        story.tell("unknown status", "ingest_shop", "warehouse_features")
        put_back(home, row)
        story.tell("status put back", "ingest_shop", "warehouse_features")
        line.shop.advance(days=1)
        patch.setattr(build, "DBT_PROJECT", project_without_a_code(tmp_path_factory.mktemp("project")))
        story.tell("code missing", "ingest", "warehouse_features")
        patch.undo()
        with without_dbt_tests():
            story.tell("next day", *(stage for stage in WITHOUT_DOCUMENTATION if stage != "models_train"))
        yield story


@pytest.fixture(scope="module")
def invoices(real_data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The original invoices, each line once with its fate, by plain SQL."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            f"""
            create table lines as
            with numbered as (
                select *, count(*) over same as copies, row_number() over same as copy,
                       InvoiceDate at time zone 'Europe/London' as invoiced_at
                from read_parquet('{real_data}/online_retail/*.parquet')
                window same as (
                    partition by InvoiceNo, upper(trim(StockCode)), trim(Description), Quantity, InvoiceDate,
                                 UnitPrice, CustomerID, Country
                )
            )
            select *, Quantity * UnitPrice as amount,
                case
                    when copy > 1 then 'duplicate'
                    when InvoiceNo like 'A%' then 'quarantined:adjustment'
                    when upper(trim(StockCode)) in ('S', 'AMAZONFEE', 'BANK CHARGES', 'CRUK', 'B', 'ADJUST',
                                                    'ADJUST2', 'TEST001', 'TEST002') then 'quarantined:not_revenue'
                    when UnitPrice <= 0 then 'quarantined:non_positive_price'
                    when InvoiceNo like 'C%' and Quantity >= 0 then 'quarantined:cancellation_adds_quantity'
                    when InvoiceNo not like 'C%' and Quantity <= 0 then 'quarantined:non_positive_quantity'
                    when InvoiceNo like 'C%' then 'used:cancellation'
                    when CustomerID is null then 'used:no_customer'
                    else 'used'
                end as fate
            from numbered
            """
        )
        connection.execute("create table kept as from lines where fate like 'used%'")
        yield connection


def test_every_invoice_line_has_the_fate_that_plain_sql_gives_it(story, invoices):
    wanted = dict(invoices.execute("select fate, count(*) from lines group by 1").fetchall())
    wanted["landed"] = invoices.execute("select count(*) from lines").fetchone()[0]
    found = story.line.published(
        "select disposition, row_count from marts.fct_source_reconciliation where source_name = 'online_retail'"
    )
    assert dict(found) == wanted
    shown = story.reports["first"]
    assert re.search(rf"online_retail +invoice_lines +{wanted['landed']:,} +{wanted.pop('landed'):,} ", shown)
    for fate, count in wanted.items():
        assert re.search(rf"^{re.escape(fate)} +{count:,}\s*$", shown, re.MULTILINE), fate


def test_invoices_and_revenue_agree(story, invoices):
    wanted = invoices.execute(
        "select count(distinct InvoiceNo), count(distinct InvoiceNo) filter (InvoiceNo like 'C%'), "
        "count(distinct InvoiceNo) filter (CustomerID is null), sum(amount) from kept"
    ).fetchone()
    [found] = story.line.published(
        "select count(*), count(*) filter (is_cancelled), count(*) filter (is_guest), sum(net_amount) "
        "from marts.fct_orders where source_system = 'online_retail'"
    )
    assert found[:3] == wanted[:3]
    assert found[3] == pytest.approx(wanted[3], abs=0.5)


def test_a_purchase_that_was_cancelled_whole_is_none(story, invoices):
    """12346 bought 74,215 jars in January 2011 and gave them back sixteen minutes later."""
    [found] = story.line.published(
        "select order_count, total_spend from marts.dim_customer_identities join marts.dim_customers "
        "using (customer_id) where source_customer_key = 'online_retail:12346'"
    )
    assert found == (0, 0.0)


def test_every_retail_customer_is_one_person_and_the_report_counts_them(story, invoices):
    [[wanted]] = invoices.execute("select count(distinct CustomerID) from kept").fetchall()
    people = story.states["first"].people
    assert sum(one["source_systems"] == "online_retail" for one in people.values()) == wanted
    buyers = sum(one["order_count"] > 0 for one in people.values())
    assert f"Customers: {len(people):,} profiled, {buyers:,} with orders" in story.reports["first"]


def test_recency_frequency_and_spend_of_retail_customers_who_gave_nothing_back_agree(story, invoices):
    wanted = invoices.execute(
        """
        select CustomerID::bigint::varchar, count(distinct InvoiceNo), sum(amount), max(invoiced_at)
        from kept where CustomerID is not null
        group by all having not bool_or(InvoiceNo like 'C%')
        """
    ).fetchall()
    found = {
        key: values
        for key, *values in story.line.published(
            "select split_part(source_customer_key, ':', 2), recency_days, frequency, monetary "
            "from marts.fct_customer_rfm join marts.dim_customer_identities using (customer_id) "
            "where source_system = 'online_retail'",
            channel="features",
        )
    }
    at = story.line.published("select max(as_of) from marts.fct_customer_rfm")[0][0]
    assert len(wanted) > 1_000
    for key, orders, spend, last in wanted:
        # An invoice's instant is that of its first line; its lines are minutes apart at most.
        assert found[key][1] == orders
        assert found[key][2] == pytest.approx(spend, abs=0.02)
        assert found[key][0] in (
            (at - last) // timedelta(days=1),
            (at - last + timedelta(hours=1)) // timedelta(days=1),
        )


def test_retail_customers_are_segmented_and_scored_and_refused_for_want_of_consent(story, invoices):
    line, people, plan = story.line, story.states["first"].people, story.plans["first"]
    theirs = {key for key, one in people.items() if one["source_systems"] == "online_retail"}
    buyers = {key for key in theirs if people[key]["order_count"] > 0}
    for query in (
        "select customer_id from marts.dim_customer_segments where segment_kind = 'rfm'",
        "select customer_id from marts.fct_customer_scores where model_name = 'customer_clusters'",
        "select customer_id from marts.fct_customer_scores where model_name = 'customer_lifetime_value'",
    ):
        assert buyers <= {row[0] for row in line.published(query)}, query
    audience = story.states["first"].audience
    assert Counter(audience[key]["refusal_reason"] for key in theirs) == {"no_consent": len(theirs)}
    others = sum(one["refusal_reason"] == "no_consent" for key, one in audience.items() if key not in theirs)
    assert plan["refused"]["no_consent"] == len(theirs) + others
    assert f"{len(theirs) + others:,}" in re.search(r"refused: no_consent +([\d,]+)", story.reports["first"])[1]
    assert not theirs & set(story.states["next day"].profiles)


def test_the_first_pass_runs_every_dag_to_its_end(story):
    assert set(story.passes["first"].states.values()) == {"success"}
    skipped = {task for task, state in story.passes["first"].tasks.items() if state == "skipped"}
    assert skipped == {
        *("ingest_local_esp.extract", "ingest_local_esp.land"),  # nothing has happened at the ESP yet
        *("models_score.announce_degraded", "models_score.announce_roll_backs"),  # and there is nothing to tell
        *("sync_local_esp.approve", "sync_klaviyo.approve"),  # nothing speaks against the plans
    }
    for page in ("data/site/index.html", "dbt/index.html"):
        assert (Path(story.line.settings.docs) / page).stat().st_size > 10_000


@pytest.mark.parametrize("after", ["first", "second", "next day"])
def test_the_esp_holds_exactly_those_who_may_be_written_to(story, after):
    state = story.states[after]
    active = {key: profile for key, profile in state.profiles.items() if key not in state.suppressed}
    assert len(active) > 100
    assert Counter(profile[0] for profile in active.values()) == Counter(story.eligible[after])
    wanted = {key: payload(row) for key, row in state.audience.items() if row["is_eligible"]}
    assert {key: held(profile) for key, profile in active.items()} == wanted


def test_klaviyo_holds_the_same_people(story):
    wanted = {key: row for key, row in story.states["next day"].audience.items() if row["is_eligible"]}
    profiles = story.line.klaviyo.app.people.profiles.values()
    held = {one["external_id"]: one for one in profiles if one["external_id"] in wanted}
    assert held.keys() == wanted.keys()
    assert {key: one["email"] for key, one in held.items()} == {key: row["email"] for key, row in wanted.items()}
    tiers = {key: one["properties"].get("loyalty_tier") for key, one in held.items()}
    assert tiers == {key: row["loyalty_tier"] for key, row in wanted.items()}
    assert {one["marketing"]["consent"] for one in held.values()} == {"SUBSCRIBED"}


def test_nobody_without_consent_was_ever_written_to(story):
    ever = story.eligible["first"] | story.eligible["next day"]
    assert {row[0] for row in story.line.esp_rows("select recipient_key from messages")} <= ever
    assert {profile[0] for profile in story.states["next day"].profiles.values()} <= ever


def test_an_unsubscribe_stops_the_person_before_anything_is_built(story):
    before, after = story.states["first"], story.states["left"]
    assert after.versions == before.versions
    assert after.loads == before.loads
    assert after.audience[story.leaver]["is_eligible"], "the published version does not know yet"
    refused = Counter(story.plans["left"]["refused"]) - Counter(story.plans["first"]["refused"])
    assert refused == {"unsubscribed": 1}
    assert story.plans["left"]["counts"]["unchanged"] == len(before.profiles) - 1
    assert after.requests == before.requests
    assert after.messages == before.messages


def test_opens_and_clicks_come_back_as_engagement(story):
    before, after = story.states["left"], story.states["second"]
    new = [load for sequence, load in after.loads.items() if sequence not in before.loads]
    assert [load["source"] for load in new] == ["local_esp"]
    assert new[0]["entities"]["events"]["rows"] == before.events == 2 * len(before.messages) + 3
    mailed = {row[1] for row in before.messages}
    for key, one in after.people.items():
        gained = {
            name: one[f"emails_{name}_count"] - before.people[key][f"emails_{name}_count"]
            for name in ("delivered", "opened", "clicked")
        }
        read = int(key == story.reader)
        assert gained == {"delivered": int(key in mailed), "opened": read, "clicked": read}
    assert after.people[story.leaver]["is_email_suppressed"]
    assert after.audience[story.leaver]["refusal_reason"] == "unsubscribed"


def test_another_pass_lands_publishes_and_sends_nothing(story):
    assert story.states["third"] == story.states["second"]
    assert set(story.passes["third"].states.values()) == {"success"}
    assert {task for task, state in story.passes["third"].tasks.items() if state == "success"} == {
        "warehouse_features.ingest_settled",
        "models_train.pin_features",
        "models_score.pin_features",
        *(f"models_score.score_{name}" for name in registry.aliases(story.line.settings.stores)),
        "models_score.watch",
        *(f"sync_{name}.{task}" for name in ("local_esp", "klaviyo") for task in BEFORE_SENDING),
        "campaign_champions_thank_you.pull_suppressions",
        "campaign_champions_thank_you.pin_activation",
    }
    assert "published" not in re.search(r"Warehouse\n.*?\n\n", story.reports["third"], re.DOTALL)[0]


def test_the_next_day_lands_only_what_is_new(story):
    before, after = story.states["third"], story.states["next day"]
    assert {sequence: after.loads[sequence] for sequence in before.loads} == before.loads
    new = [load for sequence, load in after.loads.items() if sequence not in before.loads]
    assert {"crm", "shop", "web", "local_esp"} <= {load["source"] for load in new} <= {
        "crm", "catalogue", "shop", "web", "email", "local_esp"
    }  # fmt: skip
    root = story.line.settings.landing
    for load in new:
        for entity, brought in load["entities"].items():
            earlier = [
                f"{root}/{file}"
                for one in after.loads.values()
                if one["source"] == load["source"] and one["load_sequence"] < load["load_sequence"]
                for file in one["entities"].get(entity, {}).get("files", ())
            ]
            files = [f"{root}/{file}" for file in brought["files"]]
            if not (files and earlier):
                continue
            again = "select count(*) from read_parquet(?) where _row_hash in (select _row_hash from read_parquet(?))"
            assert duckdb.execute(again, [files, earlier]).fetchone() == (0,), f"{load['source']}.{entity}"


def test_people_have_answered_the_campaign_by_the_next_day(story):
    """The shop's people read what the ESP delivered, on the shop's clock; their answers land like any source."""
    root = story.line.settings.landing
    loads = [load for load in story.states["next day"].loads.values() if load["source"] == "local_esp"]
    files = [f"{root}/{file}" for load in loads for file in load["entities"]["events"]["files"]]
    landed = duckdb.execute("select event_type, count(distinct message_id) from read_parquet(?) group by 1", [files])
    counts = dict(landed.fetchall())
    assert counts["open"] > 3
    assert counts["open"] < counts["delivered"]


def test_the_next_day_writes_only_those_whose_payload_differs(story):
    before, after = story.states["third"], story.states["next day"]
    assert after.versions["features"] != before.versions["features"]
    assert after.versions["activation"] != before.versions["activation"]
    was = {key: payload(row) for key, row in before.audience.items() if row["is_eligible"]}
    now = {key: payload(row) for key, row in after.audience.items() if row["is_eligible"]}
    differing = {key for key, wanted in now.items() if was.get(key) != wanted}
    touched = {key for key, profile in after.profiles.items() if before.profiles.get(key) != profile}
    assert touched == differing
    counts = story.plans["next day"]["counts"]
    assert counts["create"] + counts["update"] + counts["restore"] == len(differing)
    assert counts["unchanged"] == len(now) - len(differing)
    assert 0 < len(differing) < len(now)
    assert counts["suppress"] == len(set(was) - set(now))
    assert counts["delete"] == 0


def test_nobody_gets_a_campaign_twice(story):
    before, after = story.states["third"], story.states["next day"]
    assert max(Counter(row[:2] for row in after.messages).values()) == 1
    assert before.messages == [row for row in after.messages if row in before.messages]
    assert len(after.messages) == sum(row[3] == "accepted" for row in after.sends) > 0
    champions = {
        key for key, row in after.audience.items() if row["is_eligible"] and "champions" in row["segments"].split(",")
    }
    assert champions <= {row[1] for row in after.messages}


def test_a_load_with_an_unknown_status_is_rejected_and_the_cursor_stays(story):
    before, after = story.states["third"], story.states["unknown status"]
    assert story.passes["unknown status"].tasks["ingest_shop.land"] == "failed"
    assert after.loads == before.loads
    assert after.cursors == before.cursors
    assert after.versions == before.versions
    rejected = list((Path(story.line.settings.landing) / "_rejected").glob("*.json"))
    assert [json.loads(file.read_text())["source"] for file in rejected] == ["shop"]
    assert json.loads(rejected[0].read_text())["audit"]["errors"] == 1
    assert story.passes["unknown status"].tasks["warehouse_features.resolve_features"] == "skipped"


def test_once_the_status_is_mended_nothing_is_left_of_the_rejected_load(story):
    assert story.passes["status put back"].tasks["ingest_shop.extract"] == "skipped"
    assert story.states["status put back"] == story.states["third"]


def test_a_failing_dbt_test_keeps_the_published_version(story):
    failed = story.passes["code missing"]
    assert failed.states["warehouse_features"] == "failed"
    assert failed.tasks["warehouse_features.build_staging"] == "failed"
    assert failed.tasks["warehouse_features.publish"] == "upstream_failed"
    before, after = story.states["third"], story.states["code missing"]
    assert after.versions == before.versions
    assert after.audience == before.audience
    assert story.passes["next day"].states["warehouse_features"] == "success"

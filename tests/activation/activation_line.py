"""A published version of a few people, and activation from it to a local ESP, for tests to drive."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from letterpress.activation import ledger, stores, suppression
from letterpress.activation.apply import ApplyResult, advance, apply_plan
from letterpress.activation.campaign import CampaignResult, campaign, send_campaign
from letterpress.activation.destinations import Connection, Destination
from letterpress.activation.destinations.contract import audiences
from letterpress.activation.plan import Plan, make_plan
from letterpress.activation.pull import lift_opted_in, pull_suppressions
from letterpress.demo.esp import RunningEsp

KEY = b"a key of the tests, thirty-two by"
NOW = datetime(2011, 7, 1, 12, tzinfo=UTC)

# What a test's audience holds; every other column of the contract is there and empty.
FILLED = {
    "country_code": "GB",
    "time_zone": "Europe/London",
    "rfm_code": "555",
    "rfm_segment": "Champions",
    "cluster": "loyal high spenders",
    "clv_tier": "high",
    "order_count_band": "10+",
}


@dataclass(frozen=True)
class Person:
    """A row of sync_customers, and since when the consent stands."""

    customer_id: str
    email: str | None = None
    first_name: str | None = "Ada"
    loyalty_tier: str | None = "gold"
    favourite_category: str | None = "Candles & Home"
    segments: str | None = "champions"
    clv_decile: int | None = 10
    is_eligible: bool = True
    refusal_reason: str | None = None
    consent_proof: str | None = "proof-1"
    granted_at: datetime = datetime(2011, 1, 1, tzinfo=UTC)

    def changed(self, **values: Any) -> "Person":
        """The same person with other values."""
        return replace(self, **values)

    def refused(self, reason: str) -> "Person":
        """The same person, whom the warehouse does not let through."""
        return replace(self, is_eligible=False, refusal_reason=reason)


def person(number: int, **values: Any) -> Person:
    """Somebody who may be written to."""
    return Person(f"customer-{number:05d}", **{"email": f"person{number}@example.com", **values})


def row(one: Person) -> dict[str, Any]:
    """A person's row of the audience."""
    return {
        **FILLED,
        "customer_id": one.customer_id,
        "email": one.email,
        "first_name": one.first_name,
        "loyalty_tier": one.loyalty_tier,
        "favourite_category": one.favourite_category,
        "clv_decile": one.clv_decile,
        "segments": one.segments,
        "email_consent_status": "granted" if one.is_eligible else "withdrawn",
        "consent_proof": one.consent_proof,
        "consent_changed_at": one.granted_at,
        "is_eligible": one.is_eligible,
        "refusal_reason": one.refusal_reason,
    }


def write_version(folder: Path, people: list[Person], moves: Sequence[tuple[str, str, str]] = ()) -> str:
    """A version directory that holds exactly these people; ``moves`` are (account, former id, surviving id)."""
    folder.mkdir(parents=True)
    columns = {"customer_id": "varchar", "email": "varchar", **audiences()["activation.sync_customers"]}
    typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    present = {key: new for key, _, new in moves}  # whose an account is after its last change
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute(f"""
            begin;
            create schema activation;
            create schema marts;
            create schema operations;
            create table activation.sync_customers ({typed});
            create table marts.dim_customers (customer_id varchar);
            create table marts.dim_customer_identities (source_customer_key varchar, customer_id varchar);
            create table operations.fct_identity_changes
                (source_customer_key varchar, old_customer_id varchar, new_customer_id varchar);
        """)
        _fill(connection, "operations.fct_identity_changes", list(moves))
        _fill(connection, "marts.dim_customer_identities", list(present.items()))
        _fill(connection, "marts.dim_customers", [(one.customer_id,) for one in people])
        if people:
            given = pa.Table.from_pylist([row(one) for one in people])
            connection.register("given", given)
            connection.execute("insert into activation.sync_customers by name select * from given")
        connection.execute("commit")
    return str(folder)


def _fill(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[str]]) -> None:
    if rows:
        connection.executemany(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", rows)


@dataclass
class Line:
    """Activation from a warehouse to an ESP, for a test to drive."""

    folder: Path
    esp: RunningEsp
    stores_url: str
    destination: Destination
    versions: int = 0
    version_dir: str = ""
    audited: list[dict] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        return Connection(self.esp.base_url, self.esp.token, self.esp.smtp_host, self.esp.smtp_port)

    def publish(self, *people: Person, moves: Sequence[tuple[str, str, str]] = ()) -> str:
        self.versions += 1
        self.version_dir = write_version(self.folder / f"published-{self.versions}", list(people), moves)
        return self.version_dir

    def plan(self, run_id: str = "run") -> Plan:
        return make_plan(
            destination=self.destination,
            version_dir=self.version_dir,
            stores_url=self.stores_url,
            identity_key=KEY,
            plans=str(self.folder / "plans"),
            run_id=run_id,
        )

    def apply(self, plan: Plan, **options: Any) -> ApplyResult:
        given = {
            "plan": plan,
            "destination": self.destination,
            "version_dir": self.version_dir,
            "connection": self.connection,
            "stores_url": self.stores_url,
            "identity_key": KEY,
            "run_id": "run",
            "is_approved": True,  # the shops of the tests are so small that they shrink by half
            "validate": lambda frame: self.audited.extend(frame.to_dict("records")),
        }
        run = apply_plan if options.pop("wait", True) else advance
        return run(**{**given, **options})

    def sync(self, *people: Person, **options: Any) -> ApplyResult:
        if people:
            self.publish(*people)
        return self.apply(self.plan(), **options)

    def at_esp(self) -> dict[str, dict]:
        found, _ = self.esp.app.state.profiles.page(after="", size=10_000)
        return {profile["external_id"]: profile for profile in found}

    def suppress(self, one: Person, reason: str, at: datetime = NOW) -> None:
        with stores.opened(self.stores_url) as engine, stores.writing(engine) as connection:
            suppression.suppress(
                connection,
                suppression.entries(
                    email=one.email,
                    customer_id=one.customer_id,
                    reason=reason,
                    source="test",
                    suppressed_at=at,
                    identity_key=KEY,
                ),
            )

    def pull(self) -> int:
        return pull_suppressions(
            destination=self.destination,
            connection=self.connection,
            stores_url=self.stores_url,
            identity_key=KEY,
        )

    def lift(self) -> int:
        return lift_opted_in(
            destination=self.destination,
            version_dir=self.version_dir,
            stores_url=self.stores_url,
            identity_key=KEY,
        )

    def send(self, campaign_id: str = "champions_thank_you", **options: Any) -> CampaignResult:
        given = {
            "campaign": campaign(campaign_id),
            "destination": self.destination,
            "version_dir": self.version_dir,
            "connection": self.connection,
            "stores_url": self.stores_url,
            "identity_key": KEY,
            "shop_url": "http://127.0.0.1:8090",
            "run_id": "run",
        }
        return send_campaign(**{**given, **options})

    def mails(self) -> list[dict]:
        with self.esp.app.state.database.reading() as connection:
            return [dict(row) for row in connection.execute("select * from messages order by sequence")]

    def read_mail(self, customer_id: str) -> EmailMessage:
        content = next(mail["content"] for mail in self.mails() if mail["external_id"] == customer_id)
        return BytesParser(policy=policy.default).parsebytes(zlib.decompress(content))

    def sends(self) -> dict[str, dict]:
        """The sends without what differs between runs."""
        with stores.opened(self.stores_url) as engine, stores.reading(engine) as connection:
            rows = connection.execute(stores.SENDS.select()).mappings().all()
        return {
            row["customer_id"]: {name: value for name, value in row.items() if name not in ("run_id", "accepted_at")}
            for row in rows
        }

    def ledger(self) -> dict[tuple[str, str], dict]:
        """The ledger by person and facet, without what differs between runs: attempts, requests."""
        hidden = ("attempt", "batch_id")
        with stores.opened(self.stores_url) as engine, stores.reading(engine) as connection:
            rows = connection.execute(
                stores.LEDGER.select().where(stores.LEDGER.c.destination == self.destination.name)
            ).mappings()
            return {
                (row["customer_id"], row["facet"]): {name: value for name, value in row.items() if name not in hidden}
                for row in rows
            }

    def states(self) -> Counter[str]:
        """How many profiles are in which state."""
        return Counter(row["state"] for (_, facet), row in self.ledger().items() if facet == ledger.PROFILE)

"""Campaigns: one mail to each eligible person of a segment, at most once.

For each person: a row ``planned`` is committed; live suppression is asked and the row becomes ``sent`` in one
transaction; the mail leaves by SMTP under the row's idempotency key; the destination's receipt makes it
``accepted``. A run that was killed in between leaves ``sent``: the next one asks the destination for the
receipt, and sends again under the same key only where there is none.
"""

import logging
import smtplib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlencode

import sqlalchemy as sa
import tenacity
from pydantic import Field, field_validator

from letterpress.activation import audience, sends, stores, suppression
from letterpress.activation.configuration import Block, ConfigurationError, nearest, read_blocks
from letterpress.activation.destinations import Connection, Destination, open_client, pace
from letterpress.activation.destinations.local_esp import LocalEsp
from letterpress.activation.destinations.spec import DestinationError
from letterpress.activation.mail import MailTemplate, compose

log = logging.getLogger(__name__)

FILE = Path(__file__).parent / "campaigns.yml"
SLICE = 500  # rows planned in one transaction
ATTEMPTS = 6
LOGGED_EVERY = 100


class Sender(Block):
    """Who the mail is from."""

    name: str = Field(min_length=1)
    address: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")


class Campaign(Block):
    """One block of ``campaigns.yml``; its name is the campaign's id."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    title: str = Field(min_length=1)
    destination: str
    segment: str = Field(min_length=1)
    subject: str = Field(min_length=1)
    preheader: str
    template: str
    greeting: str = Field(default="there", description="the first name of somebody who gave none")
    sender: Sender

    @field_validator("segment")
    @classmethod
    def one_segment(cls, value: str) -> str:
        """A key, not a list of them."""
        if "," in value:
            raise ValueError(f"expected one segment key, found {value!r}")
        return value


@dataclass(frozen=True)
class CampaignResult:
    """What became of a campaign's audience in this run."""

    campaign_id: str
    audience: int
    sent: int
    already_sent: int
    refused: dict[str, int] = field(default_factory=dict)


@cache
def campaigns(path: Path = FILE) -> dict[str, Campaign]:
    """Every campaign, checked; raises ConfigurationError naming file, line and field."""
    return read_blocks(path, Campaign)


def campaign(name: str, path: Path = FILE) -> Campaign:
    """One campaign; raises ConfigurationError with the nearest name where there is none."""
    known = campaigns(path)
    if name not in known:
        raise ConfigurationError(f"{path.name}: unknown campaign {name!r}; {nearest(name, list(known))}")
    return known[name]


def send_campaign(
    *,
    campaign: Campaign,
    destination: Destination,
    version_dir: str,
    connection: Connection,
    stores_url: str,
    identity_key: bytes,
    shop_url: str,
    run_id: str,
) -> CampaignResult:
    """Send a campaign to everybody who is in its segment, eligible and not suppressed, and has not got it.

    Raises TemplateError before anything leaves, and DestinationError when the destination fails for good:
    the next run goes on from there.
    """
    if campaign.destination != destination.name:
        raise ValueError(f"{campaign.name}: expected destination {campaign.destination}, found {destination.name}")
    template = MailTemplate(campaign.template, subject=campaign.subject, preheader=campaign.preheader)
    counts: Counter[str] = Counter()
    with (
        stores.opened(stores_url) as engine,
        audience.opened(version_dir, identity_key) as duck,
        open_client(destination, connection) as client,
        Mailer(connection, client) as mailer,
    ):
        audience.check(duck, destination)
        refused = _refused_by_warehouse(duck, campaign, destination)
        run = _Run(campaign, destination, engine, client, mailer, template, identity_key, shop_url, run_id, counts)
        run.settle_unanswered()
        for people in _people(duck, campaign, destination):
            run.send(people)
    refused.update({code: number for code, number in counts.items() if code not in ("sent", "already_sent")})
    result = CampaignResult(
        campaign_id=campaign.name,
        audience=counts.total() + sum(refused.values()) - sum(counts[code] for code in refused),
        sent=counts["sent"],
        already_sent=counts["already_sent"],
        refused=dict(sorted(refused.items())),
    )
    log.info(
        "%s: %d sent, %d already sent, %d refused",
        campaign.name,
        result.sent,
        result.already_sent,
        sum(refused.values()),
    )
    return result


class Mailer:
    """One SMTP connection, opened with the first mail and kept; lost ones are opened again.

    A lost answer is settled by asking the destination for the receipt; where there is none the mail is sent
    again under the same key.
    """

    def __init__(self, connection: Connection, client: LocalEsp):
        self._connection = connection
        self._client = client
        self._smtp: smtplib.SMTP | None = None

    def __enter__(self) -> "Mailer":
        """Nothing is opened yet."""
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def send(self, message: EmailMessage, *, key: str) -> str | None:
        """Hand a mail over; returns none when it was taken, or the code of a final refusal.

        Raises DestinationError when the server does not take it and does not refuse it either.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_NotYet),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=20),
            sleep=lambda seconds: pace.pause(seconds),
            reraise=True,
        )
        try:
            return retrying(self._once, message, key)
        except _NotYet as last:
            raise DestinationError(
                f"SMTP {self._connection.smtp_host}:{self._connection.smtp_port}: expected the mail to be taken, "
                f"found {last} after {ATTEMPTS} attempts; the next run settles it"
            ) from None

    def _once(self, message: EmailMessage, key: str) -> str | None:
        try:
            if self._smtp is None:
                self._smtp = smtplib.SMTP(self._connection.smtp_host, self._connection.smtp_port, timeout=30)
            self._smtp.send_message(message)
            return None
        except smtplib.SMTPRecipientsRefused as refusal:
            code, text = next(iter(refusal.recipients.values()))
        except smtplib.SMTPResponseException as refusal:
            code, text = refusal.smtp_code, refusal.smtp_error
        except (OSError, smtplib.SMTPServerDisconnected) as error:
            self._drop()
            if self._client.receipt(key) is not None:
                return None
            log.warning("mail server: %s, the mail is sent again under its key", error.__class__.__name__)
            raise _NotYet(error.__class__.__name__) from None
        if 400 <= code < 500:
            log.warning("mail server: answered %d, the mail is sent again under its key", code)
            if code == 421:
                self._drop()
            raise _NotYet(str(code))
        return "suppressed" if b"suppressed" in text else f"smtp_{code}"

    def _drop(self) -> None:
        if self._smtp is None:
            return
        smtp, self._smtp = self._smtp, None
        try:
            smtp.quit()
        except (OSError, smtplib.SMTPException):
            smtp.close()


class _NotYet(Exception):
    """The mail was not taken this time."""


@dataclass
class _Run:
    """One run of one campaign."""

    campaign: Campaign
    destination: Destination
    engine: sa.Engine
    client: LocalEsp
    mailer: Mailer
    template: MailTemplate
    identity_key: bytes
    shop_url: str
    run_id: str
    counts: Counter[str]
    settled: set[str] = field(default_factory=set)

    @property
    def _ids(self) -> tuple[str, str]:
        return self.campaign.name, self.destination.name

    def settle_unanswered(self) -> None:
        """Ask for the receipts of mails that another run left under way: whoever records one has sent it."""
        with stores.reading(self.engine) as connection:
            rows = sends.unanswered(connection, *self._ids)
        for row in rows:
            if self._record_receipt(row["customer_id"], row["idempotency_key"]):
                self.settled.add(row["customer_id"])
        self.counts["sent"] += len(self.settled)

    def send(self, people: list[dict]) -> None:
        """Plan a slice of people in one transaction, then send to one after the other."""
        people = [person for person in people if person["customer_id"] not in self.settled]
        everybody = {person["customer_id"]: person for person in people}
        with stores.writing(self.engine) as connection:
            stopped = self._stopped(connection, people)
            rows = sends.plan(
                connection,
                *self._ids,
                [customer_id for customer_id in everybody if customer_id not in stopped],
                identity_key=self.identity_key,
                run_id=self.run_id,
            )
        self.counts.update(stopped.values())
        for customer_id, row in rows.items():
            if row["state"] == sends.ACCEPTED:
                self.counts["already_sent"] += 1
            elif row["state"] == sends.REFUSED:
                self.counts[row["error_code"]] += 1
            else:
                self._send_one(everybody[customer_id], row["idempotency_key"])

    def _send_one(self, person: dict, key: str) -> None:
        customer_id = person["customer_id"]
        message = self._compose(person, key)
        with stores.writing(self.engine) as connection:
            reason = self._stopped(connection, [person]).get(customer_id)
            if reason is not None:
                sends.refuse(connection, *self._ids, customer_id, code=reason)
            elif not sends.begin(connection, *self._ids, customer_id, run_id=self.run_id):
                reason = "already_sent"
        if reason is None:
            reason = self.mailer.send(message, key=key) if message is not None else "invalid_email"
            if reason is not None:
                with stores.writing(self.engine) as connection:
                    sends.refuse(connection, *self._ids, customer_id, code=reason)
            else:
                recorded = self._record_receipt(customer_id, key)
                if recorded is None:
                    raise DestinationError(
                        f"{self.destination.name}: expected a receipt for a mail that was taken, found none; "
                        "the next run settles it"
                    )
                reason = None if recorded else "already_sent"  # another run has recorded the same mail
        self.counts[reason or "sent"] += 1
        if self.counts["sent"] % LOGGED_EVERY == 0 and reason is None:
            log.info("%s: %d sent", self.campaign.name, self.counts["sent"])

    def _record_receipt(self, customer_id: str, key: str) -> bool | None:
        """Whether the receipt was new; none where the destination has no such mail."""
        receipt = self.client.receipt(key)
        if receipt is None:
            return None
        with stores.writing(self.engine) as connection:
            return sends.accept(
                connection,
                *self._ids,
                customer_id,
                message_id=receipt.message_id,
                accepted_at=receipt.accepted_at,
            )

    def _stopped(self, connection: sa.Connection, people: list[dict]) -> Mapping[str, str]:
        asked = [(person["customer_id"], person["email"]) for person in people]
        return suppression.stopped(connection, asked, self.identity_key)

    def _compose(self, person: dict, key: str) -> EmailMessage | None:
        """The person's mail; none where no header can hold the address."""
        tracking = urlencode({"utm_source": "letterpress", "utm_medium": "email", "utm_campaign": self.campaign.name})
        category = person["favourite_category"]
        page = f"/c/{quote(category.lower())}" if category else "/"
        tier = person["loyalty_tier"]
        rendered = self.template.render(
            {
                "first_name": person["first_name"] or self.campaign.greeting,
                "favourite_category": category,
                "loyalty_tier": None if tier in (None, "none") else tier.capitalize(),
                "rfm_segment": person["rfm_segment"],
                "shop_link": f"{self.shop_url}/?{tracking}",
                "category_link": f"{self.shop_url}{page}?{tracking}",
            }
        )
        sender = self.campaign.sender
        try:
            message = compose(
                rendered, sender_name=sender.name, sender_address=sender.address, recipient=person["email"].strip()
            )
        except (ValueError, IndexError):
            return None
        message["X-Letterpress-Idempotency-Key"] = key
        message["X-Letterpress-Campaign"] = self.campaign.name
        message["X-Letterpress-Campaign-Name"] = self.campaign.title
        message["X-Letterpress-Customer"] = person["customer_id"]
        return message


def _refused_by_warehouse(duck: object, campaign: Campaign, destination: Destination) -> Counter[str]:
    """Who is in the segment and not eligible, by reason."""
    rows = duck.execute(
        f"""
        select people.refusal_reason, count(*)
        from {audience.relation(destination)} as people
        where not people.is_eligible and list_contains(string_split(people.segments, ','), ?)
        group by people.refusal_reason
        """,
        [campaign.segment],
    ).fetchall()
    return Counter(dict(rows))


def _people(duck: object, campaign: Campaign, destination: Destination) -> Iterator[list[dict]]:
    """The segment's eligible people in the order of their ids, in slices."""
    columns = ("customer_id", "email", "first_name", "favourite_category", "loyalty_tier", "rfm_segment")
    found = duck.execute(
        f"""
        select {", ".join(f"audience.{column}" for column in columns)}
        from published.{destination.audience} as audience
        join {audience.relation(destination)} as people on people.customer_id = audience.customer_id
        where people.is_eligible and list_contains(string_split(people.segments, ','), ?)
        order by audience.customer_id
        """,
        [campaign.segment],
    )
    while rows := found.fetchmany(SLICE):
        yield [dict(zip(columns, row, strict=True)) for row in rows]

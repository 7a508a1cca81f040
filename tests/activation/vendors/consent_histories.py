"""What people want and do over some rounds, beside what the engine asks a vendor for: the judge of consent."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from activation_line import Person, person
from vendor_line import VendorLine

EVENTS = (
    "nothing",
    "changes",
    "grants",
    "grants",
    "withdraws",
    "unsubscribes there",
    "bounces there",
    "complains there",
    "unsubscribes by webhook",
    "unsubscribes between plan and apply",
    "is erased",
    "changes address",
    "merges into the next",
    "leaves",
    "comes back",
)
UPSERT, SUBSCRIBE, JOIN = "upsert", "subscribe", "join"


@dataclass
class Human:
    """What one person wants; the warehouse knows of consent, and of the vendor's events nothing by itself."""

    number: int
    email: str = ""
    is_there: bool = True
    is_granted: bool = False
    granted_at: datetime = datetime(2011, 1, 1, tzinfo=UTC)
    stopped_at: datetime | None = None
    is_final: bool = False
    is_erased: bool = False
    is_merged: bool = False
    proof: int = 0
    tier: str = "none"
    bounced: set[str] = field(default_factory=set)
    complained: set[str] = field(default_factory=set)
    addresses: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.accounts.append(f"shop:{self.number}")
        self.move_to(f"person{self.number}@example.com")

    def move_to(self, email: str) -> None:
        """Another address from now on."""
        self.email = email
        self.addresses.append(email)

    @property
    def customer_id(self) -> str:
        return person(self.number).customer_id

    @property
    def is_stopped(self) -> bool:
        """Whether the person's last word was no, or is final."""
        said_no = self.stopped_at is not None and self.stopped_at >= self.granted_at
        return said_no or self.is_final or self.is_erased or self.email in self.bounced

    @property
    def may_be_written_to(self) -> bool:
        return self.is_there and not self.is_merged and self.is_granted and not self.is_stopped

    def row(self) -> Person:
        """The person's row of the audience."""
        one = person(
            self.number,
            email=self.email,
            loyalty_tier=self.tier,
            consent_proof=f"proof-{self.number}-{self.proof}" if self.proof else None,
            granted_at=self.granted_at,
        )
        if self.is_granted:
            return one
        return one.refused("consent_withdrawn" if self.proof else "no_consent")


@dataclass
class Request:
    """People of one request that writes, and what it says of their consent."""

    operation: str
    people: set[str]  # addresses and ids
    consent: tuple[str, ...] = ()


@dataclass
class History:
    """Some people, the line to a vendor, and every request that the vendor got."""

    line: VendorLine
    clock: Any
    people: list[Human]
    requests: list[Request] = field(default_factory=list)
    moves: list[tuple[str, str, str]] = field(default_factory=list)
    in_between: list[Human] = field(default_factory=list)

    def __post_init__(self):
        answer, read = self.line.app.answer, READERS[self.line.destination.module]

        def recorded(method: str, url: str, query: str, headers: Mapping[str, str], content: bytes) -> Any:
            self.requests += read(self.line.app, method, url, orjson.loads(content) if content else None)
            return answer(method, url, query, headers, content)

        self.line.app.answer = recorded

    def live(self, events: list[str]) -> None:
        """One round: what people do, then pull, lift, plan, apply as every run does; and the next run."""
        self.clock.advance(3_600.0)
        for one, event in zip(self.people, events, strict=True):
            self._meet(one, event)
        self.clock.advance(60.0)
        there = [one.row() for one in self.people if one.is_there and not one.is_merged]
        self.line.publish(*there, moves=self.moves)
        for is_first in (True, False):
            self.line.pull()
            self.line.lift()
            plan = self.line.plan()
            for one in self.in_between if is_first else ():
                self.line.suppress(one.row(), "unsubscribed", self._now())
                one.stopped_at = self._now()
            self.requests.clear()
            self.line.apply(plan)
            self._check_requests()
            self.clock.advance(60.0)
        self.in_between.clear()
        self._check_vendor()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self.clock.now()), UTC)

    def _meet(self, one: Human, event: str) -> None:
        if one.is_merged or one.is_erased:
            return
        now, app = self._now(), self.line.app
        if event == "changes":
            one.tier = "gold" if one.tier == "none" else "none"
        elif event == "grants":
            one.is_there = one.is_granted = True
            one.granted_at, one.proof = now, one.proof + 1
        elif event == "withdraws":
            one.is_granted = False
        elif event == "unsubscribes by webhook":
            self.line.suppress(one.row(), "unsubscribed", now)
            one.stopped_at = now
        elif event == "unsubscribes between plan and apply":
            self.in_between.append(one)
        elif event.endswith(" there") and MAILABLE[self.line.destination.module](app, one.email):
            self._at_the_vendor(one, event, now)
        elif event == "is erased":
            self.line.suppress(one.row(), "erased", now)
            one.is_erased = True
        elif event == "changes address":
            self._change_address(one)
        elif event == "merges into the next":
            self._merge(one)
        elif event in ("leaves", "comes back"):
            one.is_there = event == "comes back"

    def _at_the_vendor(self, one: Human, event: str, now: datetime) -> None:
        app, is_braze = self.line.app, self.line.destination.module == "braze"
        if event == "unsubscribes there":
            app.unsubscribe(one.email)
            one.stopped_at = now
        elif event == "bounces there":
            app.bounce(one.email)
            one.bounced.add(one.email)
        else:
            app.complain(one.email)
            one.complained.add(one.email)
            one.stopped_at = now
            one.is_final = one.is_final or not is_braze  # Braze tells complaints as opt-outs, and mails nobody again

    def _change_address(self, one: Human) -> None:
        if self.line.destination.module == "braze" and one.is_stopped:
            one.is_granted = (
                False  # Braze tells addresses alone: only the landed event tells the warehouse whose it was
            )
        one.move_to(f"person{one.number}-{len(one.addresses)}@example.com")

    def _merge(self, one: Human) -> None:
        """Both are one person from now on, under the next one's id; the stricter word holds."""
        other = self.people[(self.people.index(one) + 1) % len(self.people)]
        if other.is_merged or other.is_erased or not other.is_there or other in self.in_between:
            return
        self.moves += [(account, one.customer_id, other.customer_id) for account in one.accounts]
        other.accounts += one.accounts
        one.is_merged = True
        if one.is_stopped or not one.is_granted:
            other.is_granted = False
        other.is_final = other.is_final or one.is_final
        if other.is_final:
            self.line.suppress(other.row(), "complained", self._now())

    def _check_requests(self) -> None:
        allowed = {word for one in self.people if one.may_be_written_to for word in (one.email, one.customer_id)}
        for request in self.requests:
            assert request.people, "every request that writes names its people"
            assert request.people <= allowed, (
                f"{request.operation}: {request.people - allowed} is in it without consent"
            )
            if request.operation == UPSERT:
                assert request.consent == (), "a profile never says anything of consent"

    def _check_vendor(self) -> None:
        """Whom the vendor would mail now: nobody who said no, and everybody of whom there is no doubt."""
        app, is_mailable = self.line.app, MAILABLE[self.line.destination.module]
        for one in self.people:
            for email in one.addresses:
                if email in one.complained or email in one.bounced:
                    assert not is_mailable(app, email), "a complaint and a dead mailbox are final"
                if one.is_erased or (one.is_there and not one.is_merged and not one.may_be_written_to):
                    assert not is_mailable(app, email), "nobody without consent is mailed"
            if one.is_erased:
                assert one.customer_id not in HELD[self.line.destination.module](app)
            has_simple_story = len(one.addresses) == 1 and len(one.accounts) == 1 and one.stopped_at is None
            if one.may_be_written_to and has_simple_story:
                assert is_mailable(app, one.email), "who consented is reached"


def _klaviyo(app: Any, method: str, url: str, body: Any) -> Iterator[Request]:
    if (method, url) in (("POST", "/api/profile-bulk-import-jobs"), ("POST", "/api/profile-import")):
        data = body["data"]
        profiles = [data] if url.endswith("/profile-import") else data["attributes"]["profiles"]["data"]
        for one in profiles:
            attributes = one["attributes"]
            said = tuple(name for name in ("subscriptions", "consent") if name in orjson.dumps(one).decode())
            people = {attributes["external_id"], *filter(None, [attributes.get("email")])}
            yield Request(UPSERT, people, said)
    elif (method, url) == ("POST", "/api/profile-subscription-bulk-create-jobs"):
        for one in body["data"]["attributes"]["profiles"]["data"]:
            yield Request(SUBSCRIBE, {one["attributes"]["email"]}, ("SUBSCRIBED",))
    elif method == "POST" and url.startswith("/api/lists/"):
        found = [app.people.profiles[one["id"]] for one in body["data"]]
        yield Request(JOIN, {one["external_id"] for one in found})


def _mailchimp(app: Any, method: str, url: str, body: Any) -> Iterator[Request]:
    if method == "POST" and "members" in (body or {}):
        for one in body["members"]:
            people = {one["email_address"], *filter(None, [one.get("merge_fields", {}).get("CUSTOMERID")])}
            if one.get("status") == "subscribed":
                yield Request(SUBSCRIBE, people, ("subscribed",))
            elif one.get("status") != "unsubscribed":
                said = {one.get("status"), one.get("status_if_new")} - {None, "transactional"}
                yield Request(UPSERT, people, tuple(sorted(said)))
    elif method == "POST" and (body or {}).get("members_to_add"):
        yield Request(JOIN, set(body["members_to_add"]))


def _braze(app: Any, method: str, url: str, body: Any) -> Iterator[Request]:
    if url == "/users/track":
        for one in body["attributes"]:
            is_clearing = not any(value for name, value in one.items() if name != "external_id")  # of a leaver
            if is_clearing or one.get("email_subscribe") == "unsubscribed":
                continue
            said = tuple(name for name in one if "subscri" in name)
            yield Request(UPSERT, {one["external_id"], *filter(None, [one.get("email")])}, said)
    elif url == "/email/status" and body["subscription_state"] != "unsubscribed":
        yield Request(SUBSCRIBE, set(body["email"]), (body["subscription_state"],))


def _klaviyo_mails(app: Any, email: str) -> bool:
    profile = app.profile(email)
    if profile is None or profile["email"] != email:
        return False
    return profile["marketing"]["consent"] == "SUBSCRIBED" and not profile["marketing"]["suppression"]


def _mailchimp_mails(app: Any, email: str) -> bool:
    member = app.member(email)
    return member is not None and member["status"] == "subscribed"


def _braze_mails(app: Any, email: str) -> bool:
    return app.may_mail(email) and any(user.get("email") == email for user in app.users.values())


READERS: Mapping[str, Callable[..., Iterator[Request]]] = {
    "klaviyo": _klaviyo,
    "mailchimp": _mailchimp,
    "braze": _braze,
}
MAILABLE: Mapping[str, Callable[[Any, str], bool]] = {
    "klaviyo": _klaviyo_mails,
    "mailchimp": _mailchimp_mails,
    "braze": _braze_mails,
}
HELD: Mapping[str, Callable[[Any], set[str]]] = {
    "klaviyo": lambda app: {one["external_id"] for one in app.people.profiles.values()},
    "mailchimp": lambda app: {one["merge_fields"].get("CUSTOMERID") for one in app.audience.members.values()},
    "braze": lambda app: set(app.users),
}

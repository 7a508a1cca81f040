"""The mailboxes of the shop's people at the local ESP: what Letterpress has sent them, and what they do with it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import orjson
import tenacity

PAGE = 1_000
ATTEMPTS = 4
FIRST_WAIT = 0.1  # seconds, then doubled: an advance of the clock waits for this


class EspUnreachable(Exception):
    """The ESP gave no usable answer; the shop goes on without it and asks again at its next advance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as it lies in somebody's mailbox; ``links`` are where its links lead, by number."""

    sequence: int
    message_id: str
    accepted_at: datetime
    campaign_id: str | None
    campaign_name: str | None
    external_id: str | None
    recipient: str = field(repr=False)
    subject: str = field(repr=False)
    preview: str = field(repr=False)
    links: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What a person, or a machine before them, does with a mail.

    ``kind`` is open, click, unsubscribe, complaint or bounce; ``link`` the number of the link of a click,
    ``bounce_type`` hard or soft for a bounce. The instants have a zone; ``received_at`` is when the ESP hears of it.
    """

    message_id: str
    kind: str
    at: datetime
    received_at: datetime
    is_machine: bool = False
    link: int | None = None
    bounce_type: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A reaction that the ESP did not record, and its code for the reason."""

    reaction: Reaction
    code: str


class _Again(Exception):
    """A request to be repeated."""


class Mailboxes:
    """The demo's side of the local ESP. Each call connects anew; nothing of a mail comes into an error."""

    def __init__(self, base_url: str, token: str, timeout: float = 10.0):
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout = timeout

    def fetch(self, after: int) -> list[Mail]:
        """Every mail that was accepted after the one with this sequence (0: all), in the order of acceptance.

        Raises ``EspUnreachable``.
        """
        found: list[Mail] = []
        with self._connected() as client:
            while True:
                page = self._ask(client, "GET", "/demo/mail", "data", params={"after": after, "size": PAGE})
                if not page:
                    return found
                try:
                    found += [_mail(row) for row in page]
                except (KeyError, TypeError, ValueError):
                    raise self._unreachable("GET", "/demo/mail", "a mail of another shape") from None
                after = found[-1].sequence

    def react(self, reactions: Iterable[Reaction]) -> list[Rejected]:
        """Have reactions recorded, in the order of ``received_at``; those that were rejected come back.

        Raises ``EspUnreachable``: some may be recorded then. Handing in all of them again records none twice.
        """
        # In this order, so that whoever pulls between two batches finds nothing behind what was pulled.
        ordered = sorted(reactions, key=lambda reaction: reaction.received_at)
        rejected: list[Rejected] = []
        with self._connected() as client:
            for start in range(0, len(ordered), PAGE):
                batch = ordered[start : start + PAGE]
                body = orjson.dumps({"reactions": batch})
                results = self._ask(client, "POST", "/demo/reactions", "results", content=body)
                if len(results) != len(batch):
                    found = f"{len(results)} results for {len(batch)} reactions"
                    raise self._unreachable("POST", "/demo/reactions", found)
                rejected += [
                    Rejected(reaction, result["error"]["code"])
                    for reaction, result in zip(batch, results, strict=True)
                    if result["error"]
                ]
        return rejected

    def _connected(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._base_url,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            timeout=self._timeout,
            verify=self._base_url.startswith("https"),  # certificates take 50 ms to load
        )

    def _ask(self, client: httpx.Client, method: str, path: str, name: str, **request: Any) -> list[dict[str, Any]]:
        """The list ``name`` of the answer, asked for again where that may help."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=FIRST_WAIT),
            reraise=True,
        )
        try:
            response = retrying(_once, client, method, path, **request)
            content = orjson.loads(response.content) if response.is_success else None
        except _Again as last:
            raise self._unreachable(method, path, f"{last} {ATTEMPTS} times") from None
        except httpx.TimeoutException:
            # Not asked again: an ESP that is too slow now would hold the shop's clock for every repetition.
            raise self._unreachable(method, path, f"none within {self._timeout:g} s") from None
        except orjson.JSONDecodeError:
            raise self._unreachable(method, path, "a body that is no JSON") from None
        if content is None:
            raise self._unreachable(method, path, f"status {response.status_code}")
        rows = content.get(name) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise self._unreachable(method, path, f"JSON without the list {name}")
        return rows

    def _unreachable(self, method: str, path: str, found: str) -> EspUnreachable:
        return EspUnreachable(
            f"the local ESP's mailboxes: {method} {self._base_url}{path}: expected an answer of the local ESP, found "
            f"{found}; next step: see that it runs at LETTERPRESS_ESP_URL and takes this shop's LETTERPRESS_ESP_TOKEN"
        )


def _once(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    try:
        response = client.request(method, path, **request)
    except httpx.TimeoutException:
        raise
    except httpx.RequestError as error:
        raise _Again(type(error).__name__) from None
    if response.status_code == 429 or response.status_code >= 500:
        raise _Again(f"status {response.status_code}")
    return response


def _mail(row: dict[str, Any]) -> Mail:
    return Mail(**row | {"accepted_at": datetime.fromisoformat(row["accepted_at"]), "links": tuple(row["links"])})

"""Lists of a REST API, page by page, asked again with backoff where that helps.

``pages`` reads our own APIs: ``{"data": [...], "next_cursor": ...}``. A module for an API of another shape says by a
:class:`Listing` what to ask and how one page leads to the next, and makes rows of what ``bodies`` yields.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from letterpress.sources.config import Connection, Source
from letterpress.sources.entities import Entity, Page
from letterpress.sources.errors import SourceError, SourceRefused, SourceUnavailable

log = logging.getLogger(__name__)

_RETRIED = (423, 429, 477, *range(500, 600))  # locked, too many, moving to another data centre, broken


@dataclass(frozen=True)
class Paging:
    """How one page leads to the next: dlt's paginator, and the fields of a body that it reads.

    ``following`` names the next page (dots lead into objects), ``more`` says whether there is one, ``is_link``
    whether the name is an address.
    """

    paginator: Callable[[], Any]
    following: str | None = None
    more: str | None = None
    is_link: bool = False


def by_cursor(found: str, asked: str, *, more: str | None = None) -> Paging:
    """A page holds the cursor of the next one, which is asked for by a parameter."""

    def paginator() -> Any:
        from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

        return JSONResponseCursorPaginator(cursor_path=found, cursor_param=asked, has_more_path=more)

    return Paging(paginator, found, more)


def by_link(found: str) -> Paging:
    """A page holds the whole address of the next one, as JSON:API has it."""

    def paginator() -> Any:
        from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator

        return JSONLinkPaginator(next_url_path=found)

    return Paging(paginator, found, is_link=True)


def by_offset(size: int, *, size_param: str, overlap: int = 0) -> Paging:
    """Pages are asked for by the place where they begin, until one is empty.

    ``overlap`` rows are asked for twice: where rows leave a list that is being read, the rest moves up.
    """

    def paginator() -> Any:
        from dlt.sources.helpers.rest_client.paginators import OffsetPaginator

        made = OffsetPaginator(limit=size, limit_param=size_param, total_path=None)
        made.value_step = size - overlap
        return made

    return Paging(paginator)


@dataclass(frozen=True)
class Listing:
    """A list endpoint: its path, the field that holds a page's rows, how it pages, and what it is asked."""

    path: str
    rows: str
    paging: Paging
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> str:
        """What a body has to look like, for messages."""
        following = f', "{self.paging.following}": string or null' if self.paging.following else ""
        return f'{{"{self.rows}": [...]{following}}}'


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """Every page from ``since`` (inclusive) on; raises as :func:`bodies` does."""
    listing = Listing(
        path=entity.path or f"/v1/{entity.name}",
        rows="data",
        paging=by_cursor("next_cursor", "cursor"),
        params={"page_size": source.page_size} | ({"since": since} if since else {}),
        headers=bearer(connection),
    )
    name = f"{source.name}.{entity.name}"
    for number, body in enumerate(bodies(source, name, connection, listing), start=1):
        yield Page(body["data"], f"page {number}")


def bodies(source: Source, name: str, connection: Connection, listing: Listing) -> Iterator[dict[str, Any]]:
    """The JSON body of every page of a list; each holds a list under ``listing.rows``.

    ``name`` stands in messages, ``source.entity``. A page is asked for up to ``source.retry.attempts`` times on 429,
    5xx, resets, timeouts and truncated bodies, waiting as long as ``Retry-After`` says, else doubling. Raises
    ``SourceUnavailable`` after that, and ``SourceRefused`` at once on any other status.
    """
    from dlt.sources.helpers.rest_client import RESTClient
    from requests.exceptions import RequestException

    where = f"{connection.base_url.rstrip('/')}{listing.path}"
    client = RESTClient(
        connection.base_url,
        headers=dict(listing.headers),
        paginator=listing.paging.paginator(),
        data_selector=listing.rows,
        session=_session(source, name),
    )
    reading = _Reading(name, where, listing)
    try:
        for page in client.paginate(listing.path, params=dict(listing.params), hooks={"response": [reading.check]}):
            yield page.response.json()
    except RequestException as error:
        raise _explained(error, name, where, reading.number + 1, source.retry.attempts) from None


def bearer(connection: Connection) -> dict[str, str]:
    """The header that most APIs are opened with; none where the connection has no key."""
    key = key_of(connection)
    return {"Authorization": f"Bearer {key}"} if key else {}


def key_of(connection: Connection) -> str:
    """The connection's key in plain text."""
    token = connection.token
    return token.get_secret_value() if token else ""


class _Reading:
    """The pages of one list as they come in: their shape, and that each leads to another one."""

    def __init__(self, name: str, where: str, listing: Listing):
        self.name, self.where, self.listing = name, where, listing
        self.number = 0
        self._seen: str | None = None

    def check(self, response: Any, *_: Any, **__: Any) -> None:
        """Fail on an error status or a body of another shape, and keep the parsed body, which dlt asks for often.

        Before dlt looks at it: dlt's own errors quote the body, and so the people in it.
        """
        response.raise_for_status()
        try:
            body = _parsed(response)
        except ValueError:  # a truncated body is asked for again, and dlt stumbles over any other
            return
        following = self._following(body, self.number + 1)
        if following is not None and following == self._seen:
            raise self._unavailable(
                f"a new {self.listing.paging.following} on page {self.number + 1}, found that of the page before",
                "tell the owner of the source",
            )
        if self.listing.paging.is_link and following is not None:
            self._check_address(following)
        self._seen = following
        self.number += 1
        response.json = lambda **_: body

    def _following(self, body: Any, number: int) -> str | None:
        """What names the next page, if there is one."""
        paging = self.listing.paging
        is_fit = isinstance(body, dict) and isinstance(body.get(self.listing.rows), list)
        following: Any = None
        if is_fit and paging.following:
            following = _at(body, paging.following)
            is_fit = following is None or isinstance(following, str)
        if is_fit and paging.more:
            more = _at(body, paging.more)
            is_fit = isinstance(more, bool) and not (more and not following)
            following = following if more else None
        if not is_fit:
            raise self._unavailable(
                f"{self.listing.shape} on page {number}, found another body",
                "look whether the connection points at this source",
            )
        return following

    def _check_address(self, following: str) -> None:
        """Another host, or one without encryption, would be handed the key."""
        given = urlsplit(following)
        if given.netloc and _origin(following) != _origin(self.where):
            raise SourceRefused(
                f"{self.name}: {self.where}: expected a link to the same address on page {self.number + 1}, found one "
                f"to {given.scheme}://{given.hostname}; nothing landed. Next step: set the connection to the address "
                f"that the source itself names"
            )

    def _unavailable(self, expected: str, step: str) -> SourceError:
        return SourceUnavailable(f"{self.name}: {self.where}: expected {expected}; nothing landed. Next step: {step}")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port, which is the scheme's own where none is given."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _parsed(response: Any) -> Any:
    """A body as JSON; the standard library takes what orjson is too strict for."""
    import orjson

    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return response.json()


def _at(body: Mapping[str, Any], path: str) -> Any:
    """What stands in a body at a path with dots."""
    found: Any = body
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _session(source: Source, name: str) -> Any:
    """dlt's requests session, with one condition for every repeat, which is also where they are logged."""
    from dlt.sources.helpers.requests import Client
    from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

    def again(response: Any, error: BaseException | None) -> bool:
        answer = response if response is not None else getattr(error, "response", None)
        if answer is not None and (answer.status_code in _RETRIED or _is_turned_away(answer)):
            asked = answer.headers.get("Retry-After")
            found = f"status {answer.status_code}{f', Retry-After {asked}' if asked else ''}"
        elif isinstance(error, ConnectionError | Timeout | ChunkedEncodingError):
            found = type(error).__name__
        elif response is not None and response.ok and not response.content.rstrip().endswith(b"}"):
            found = "a truncated body"
        else:
            return False
        log.warning("%s: a request failed: %s", name, found)
        return True

    return Client(
        request_timeout=source.retry.timeout_seconds,
        raise_for_status=False,
        status_codes=(),
        exceptions=(),
        retry_condition=again,
        request_max_attempts=source.retry.attempts,
        request_backoff_factor=source.retry.backoff_seconds,
        request_max_retry_delay=source.retry.longest_wait_seconds,
    ).session


def _is_turned_away(answer: Any) -> bool:
    """A 403 without JSON is not the API's: what stands before it has enough of us for now."""
    return answer.status_code == 403 and "html" in answer.headers.get("Content-Type", "")


def _explained(error: Exception, name: str, where: str, page: int, attempts: int) -> Exception:
    answer = getattr(error, "response", None)
    status = getattr(answer, "status_code", None)
    if status is not None and status >= 400 and status not in _RETRIED and not _is_turned_away(answer):
        return SourceRefused(
            f"{name}: {where}: expected 200 for page {page}, found {status}; nothing landed. Next step: check base "
            f"URL and token of the connection"
        )
    found = status if status is not None and status >= 400 else type(error).__name__
    return SourceUnavailable(
        f"{name}: {where}: expected page {page}, found {found} after {attempts} attempts; nothing landed. "
        f"Next step: see whether the source is up, then run ingest_{name.split('.')[0]} again"
    )

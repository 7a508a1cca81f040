"""Pages of a REST list endpoint: ``{"data": [...], "next_cursor": ...}``, asked again with backoff where that helps."""

import logging
from collections.abc import Iterator
from typing import Any

from letterpress.sources.config import Connection, Source
from letterpress.sources.entities import Entity, Page
from letterpress.sources.errors import SourceRefused, SourceUnavailable

log = logging.getLogger(__name__)

_RETRIED = (429, *range(500, 600))


def pages(source: Source, entity: Entity, *, since: str | None, connection: Connection) -> Iterator[Page]:
    """Every page from ``since`` (inclusive) on.

    A page is asked for up to ``source.retry.attempts`` times on 429, 5xx, resets, timeouts and truncated bodies,
    waiting as long as ``Retry-After`` says, else doubling. Raises ``SourceUnavailable`` after that, and
    ``SourceRefused`` at once on any other status.
    """
    from dlt.sources.helpers.rest_client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator
    from requests.exceptions import RequestException

    name = f"{source.name}.{entity.name}"
    path = entity.path or f"/v1/{entity.name}"
    where = f"{connection.base_url.rstrip('/')}{path}"
    client = RESTClient(
        connection.base_url,
        headers=_headers(connection),
        paginator=JSONResponseCursorPaginator(cursor_path="next_cursor", cursor_param="cursor"),
        data_selector="$",
        session=_session(source, name),
    )
    params = {"page_size": source.page_size} | ({"since": since} if since else {})
    hooks = {"response": [_parse_once]}
    seen: str | None = None
    number = 0
    try:
        for number, content in enumerate(client.paginate(path, params=params, hooks=hooks), start=1):
            rows, following = _content(content[0] if len(content) == 1 else None, where, number)
            yield Page(rows, f"page {number}")
            if following is not None and following == seen:
                raise SourceUnavailable(
                    f"{name}: {where}: expected a new next_cursor on page {number}, found that of the page before; "
                    f"nothing landed. Next step: tell the owner of the source"
                )
            seen = following
    except RequestException as error:
        raise _explained(error, name, where, number + 1, source.retry.attempts) from None


def _headers(connection: Connection) -> dict[str, str]:
    token = connection.token
    if not token:
        return {}
    return {"Authorization": f"Bearer {token.get_secret_value() if hasattr(token, 'get_secret_value') else token}"}


def _session(source: Source, name: str) -> Any:
    """dlt's requests session, with one condition for every repeat, which is also where they are logged."""
    from dlt.sources.helpers.requests import Client
    from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

    def again(response: Any, error: BaseException | None) -> bool:
        answer = response if response is not None else getattr(error, "response", None)
        if answer is not None and answer.status_code in _RETRIED:
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


def _parse_once(response: Any, *_: Any, **__: Any) -> None:
    """Fail on an error status, and keep the parsed body, which dlt asks for three times."""
    import orjson

    response.raise_for_status()
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:  # stricter than the standard library, whose verdict counts
        return
    response.json = lambda **_: body


def _content(body: Any, where: str, number: int) -> tuple[list[dict[str, Any]], str | None]:
    rows = body.get("data") if isinstance(body, dict) else None
    following = body.get("next_cursor") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not (following is None or isinstance(following, str)):
        raise SourceUnavailable(
            f'{where}: expected {{"data": [...], "next_cursor": string or null}} on page {number}, found another '
            f"body; nothing landed. Next step: look whether the connection points at this source"
        )
    return rows, following


def _explained(error: Exception, name: str, where: str, page: int, attempts: int) -> Exception:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None and status >= 400 and status not in _RETRIED:
        return SourceRefused(
            f"{name}: {where}: expected 200 for page {page}, found {status}; nothing landed. Next step: check base "
            f"URL and token of the connection"
        )
    found = status if status is not None and status >= 400 else type(error).__name__
    return SourceUnavailable(
        f"{name}: {where}: expected page {page}, found {found} after {attempts} attempts; nothing landed. "
        f"Next step: see whether the source is up, then run ingest_{name.split('.')[0]} again"
    )

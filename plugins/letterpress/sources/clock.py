"""What instant a run is as of: configured, the shop's own, or the end of the run's data interval."""

import logging
from datetime import UTC, datetime

from letterpress.settings import Settings

log = logging.getLogger(__name__)

ATTEMPTS = 4


def resolve_as_of(settings: Settings, interval_end: datetime | None) -> datetime:
    """``settings.as_of``, else the shop's clock where ``settings.clock`` is ``shop``, else ``interval_end``; UTC.

    Raises ``ConnectionError`` where the shop's clock cannot be read, ``ValueError`` where there is no instant.
    """
    if settings.as_of is not None:
        return settings.as_of.astimezone(UTC)
    if settings.clock == "shop":
        return _shop_clock(settings.shop)
    if interval_end is None or interval_end.tzinfo is None:
        raise ValueError(
            f"as_of: expected the end of a data interval with its zone, found {interval_end}; next step: set "
            f"LETTERPRESS_AS_OF, or start the run with a logical date"
        )
    return interval_end.astimezone(UTC)


def _shop_clock(base_url: str) -> datetime:
    import httpx
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    url = f"{base_url.rstrip('/')}/v1/clock"
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.2, max=5),
        retry=retry_if_exception_type(httpx.HTTPError),
        reraise=True,
    )
    try:
        answer = attempts(lambda: httpx.get(url, timeout=10).raise_for_status())
        now = datetime.fromisoformat(answer.json()["now"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ConnectionError(
            f'{url}: expected {{"now": instant}}, found {type(error).__name__}; next step: start the demo shop '
            f"(`make shop`), or set LETTERPRESS_CLOCK=interval to take as_of from the data interval"
        ) from None
    if now.tzinfo is None:
        raise ConnectionError(f"{url}: expected an instant with its zone, found one without; next step: mend the shop")
    return now.astimezone(UTC)

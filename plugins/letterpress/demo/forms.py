"""What the demo's pages share: lists by page, and forms that only their own pages may submit."""

from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import Request


def paging(path: str, page: int, size: int, total: int, **query: str) -> dict[str, Any]:
    """Which of ``total`` things a page of ``size`` shows, and the addresses of the pages beside it."""

    def address(to: int) -> str:
        kept = {name: value for name, value in query.items() if value}
        return f"{path}?{urlencode({**kept, 'page': str(to)})}"

    last = min(page * size, total)
    return {
        "first": min((page - 1) * size + 1, total),
        "last": last,
        "total": total,
        "previous": address(page - 1) if page > 1 else None,
        "next": address(page + 1) if last < total else None,
    }


def is_foreign(request: Request) -> bool:
    """Whether another site made the browser send this form."""
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc != request.headers.get("host")
    return request.headers.get("sec-fetch-site") in ("cross-site", "same-site")

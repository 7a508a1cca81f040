"""The outbox pages, and the addresses that recipients reach: pixel, links, unsubscribe.

Everything shown comes from outside and is escaped; a mail is shown in a frame that may run nothing. The pages
have no script. Only what a person does in them changes anything: a form that another site submits is refused.
"""

import re
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader

from letterpress.demo.esp.clock import instant, parse_instant
from letterpress.demo.esp.outbox import STATES
from letterpress.demo.esp.tracking import CLICK, OPEN, UNSUBSCRIBE, is_machine, parse
from letterpress.demo.forms import is_foreign, paging

PAGE_SIZE = 50
PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
MAIL_HEADERS = {
    "Content-Security-Policy": "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none';"
    " img-src http: https: data:; style-src 'unsafe-inline' http: https:; font-src http: https: data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_OWN_ADDRESS = re.compile(r"""https?://[^/\s"'<>]+/((?:t/o|t/c|u)/m_[0-9a-f]{24}\.\d+\.[\w-]{22})""")
_FOLDER = Path(__file__).parent / "templates"

Text = Annotated[str, Query(max_length=200)]
PageNumber = Annotated[int, Query(ge=1, le=100_000)]
UserAgent = Annotated[str | None, Header()]


def _moment(text: str, form: str = "%-d %b %Y, %H:%M") -> str:
    return parse_instant(text).strftime(form)


@lru_cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["moment"] = _moment
    environment.filters["hue"] = lambda text: sum(map(ord, str(text))) * 47 % 12
    environment.filters["segment_path"] = lambda text: quote(str(text), safe="")
    environment.globals["states"] = list(STATES.values())
    return environment


def _page(template: str, http_status: int = 200, **given: Any) -> HTMLResponse:
    return HTMLResponse(_environment().get_template(template).render(**given), http_status, HEADERS)


def _not_found(what: str) -> HTMLResponse:
    return _page("notice.html", 404, title="Not found", text=what)


def install(app: FastAPI) -> None:
    """Add pages, tracking addresses and the health check."""

    state = app.state

    def now() -> str:
        moment: datetime = state.clock()
        return instant(moment)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether the ESP serves and its database answers."""
        state.database.recall("signing_key")
        return {"status": "ok"}

    @app.get("/static/style.css", include_in_schema=False)
    def style() -> Response:
        headers = {"Cache-Control": "max-age=300"}
        return Response((_FOLDER / "style.css").read_bytes(), media_type="text/css", headers=headers)

    @app.get("/", include_in_schema=False)
    def outbox(q: Text = "", campaign: Text = "", status: Text = "", page: PageNumber = 1) -> Response:
        kind = next((kind for kind, name in STATES.items() if name == status), "")
        messages, total = state.outbox.browse(
            search=q, campaign=campaign, state=kind, offset=(page - 1) * PAGE_SIZE, size=PAGE_SIZE
        )
        return _page(
            "outbox.html",
            here="outbox",
            messages=messages,
            paging=paging("/", page, PAGE_SIZE, total, q=q, campaign=campaign, status=status),
            counts=state.outbox.counts(campaign),
            campaigns=state.outbox.campaigns(),
            q=q,
            campaign=campaign,
            status=status,
            is_filtered=bool(q or campaign or status),
            smtp_port=getattr(state, "smtp_port", None),
        )

    @app.get("/messages/{message_id}", include_in_schema=False)
    def message_page(message_id: str, view: Text = "") -> Response:
        message = state.outbox.message(message_id)
        if message is None:
            return _not_found("There is no such message in this outbox.")
        mail = parse(message["content"])
        text = mail.get_body(("plain",))
        views = ["html"] if mail.get_body(("html",)) is not None else []
        views += ["text"] if text is not None else []
        views += ["source"]
        view = view if view in views else views[0]
        return _page(
            "message.html",
            here="outbox",
            message=message,
            views=views,
            view=view,
            text=text.get_content() if view == "text" and text is not None else "",
            source=message["content"].decode("utf-8", "replace") if view == "source" else "",
            unsubscribe=state.signer.path(UNSUBSCRIBE, message_id) if mail["List-Unsubscribe"] else None,
            is_final="spam" in message["states"] or "bounced" in message["states"],
        )

    @app.get("/messages/{message_id}/body", include_in_schema=False)
    def message_body(message_id: str) -> Response:
        message = state.outbox.message(message_id)
        part = parse(message["content"]).get_body(("html",)) if message else None
        if part is None:
            return _not_found("This message has no HTML.")
        # The mail was written for whoever reaches the public address; in this frame its own links are near.
        body = '<base target="_blank">' + _OWN_ADDRESS.sub(r"/\1", part.get_content())
        return HTMLResponse(body, headers=MAIL_HEADERS)

    def act(request: Request, message_id: str, is_done: bool | None) -> Response:
        if is_done is None:
            return _page("notice.html", 403, title="Refused", text="This form came from another site.")
        if not is_done:
            return _not_found("There is no such message in this outbox.")
        return RedirectResponse(f"/messages/{message_id}#events", 303, HEADERS)

    @app.post("/messages/{message_id}/spam", include_in_schema=False)
    def spam(request: Request, message_id: str) -> Response:
        done = None if is_foreign(request) else state.mailbox.complained(message_id, now())
        return act(request, message_id, done)

    @app.post("/messages/{message_id}/bounce/{bounce_type}", include_in_schema=False)
    def bounce(request: Request, message_id: str, bounce_type: str) -> Response:
        if bounce_type not in ("hard", "soft"):
            return _not_found("A mail bounces hard or soft.")
        done = None
        if not is_foreign(request):
            done = state.mailbox.bounced(message_id, now(), bounce_type=bounce_type)
        return act(request, message_id, done)

    @app.api_route(f"/{OPEN}/{{token}}", methods=["GET", "HEAD"], include_in_schema=False)
    def pixel(request: Request, token: str, user_agent: UserAgent = None) -> Response:
        found = state.signer.read(OPEN, token)
        if found is not None and request.method == "GET":
            state.mailbox.opened(found[0], now(), is_machine=is_machine(user_agent))
        headers = {"Cache-Control": "no-store, max-age=0"}
        return Response(PIXEL, 200 if found else 404, headers, media_type="image/gif")

    @app.api_route(f"/{CLICK}/{{token}}", methods=["GET", "HEAD"], include_in_schema=False)
    def click(request: Request, token: str, user_agent: UserAgent = None) -> Response:
        found = state.signer.read(CLICK, token)
        url = None
        if found is not None and request.method == "GET":
            url = state.mailbox.clicked(*found, now(), is_machine=is_machine(user_agent))
        elif found is not None:
            url = state.mailbox.link(*found)
        if url is None:
            return _not_found("This link was not made here, or has been altered.")
        return RedirectResponse(url, 302, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    @app.get(f"/{UNSUBSCRIBE}/{{token}}", include_in_schema=False)
    def ask_unsubscribe(token: str) -> Response:
        found = state.signer.read(UNSUBSCRIBE, token)
        message = state.outbox.message(found[0]) if found else None
        if message is None:
            return _not_found("This unsubscribe link was not made here, or has been altered.")
        # Mail filters follow every link: only the form's POST, or a mail client's one-click POST, acts.
        return _page("unsubscribe.html", message=message, is_done="unsubscribed" in message["states"])

    @app.post(f"/{UNSUBSCRIBE}/{{token}}", include_in_schema=False)
    def unsubscribe(token: str) -> Response:
        found = state.signer.read(UNSUBSCRIBE, token)
        if found is None or not state.mailbox.unsubscribed(found[0], now()):
            return _not_found("This unsubscribe link was not made here, or has been altered.")
        return _page("unsubscribe.html", message=state.outbox.message(found[0]), is_done=True)

    @app.get("/profiles", include_in_schema=False)
    def profiles(q: Text = "", segment: Text = "", page: PageNumber = 1) -> Response:
        found, total = state.profiles.browse(search=q, segment=segment, offset=(page - 1) * PAGE_SIZE, size=PAGE_SIZE)
        return _page(
            "profiles.html",
            here="profiles",
            profiles=found,
            segments=state.profiles.segments(),
            paging=paging("/profiles", page, PAGE_SIZE, total, q=q, segment=segment),
            q=q,
            segment=segment,
        )

    @app.get("/profiles/{external_id:path}", include_in_schema=False)
    def profile_page(external_id: str) -> Response:
        profile = state.profiles.get(external_id)
        if profile is None:
            return _not_found("There is no such profile.")
        messages, total = state.outbox.browse(person=external_id, offset=0, size=PAGE_SIZE)
        return _page("profile.html", here="profiles", profile=profile, messages=messages, total=total)

    @app.get("/suppressions", include_in_schema=False)
    def suppressions(page: PageNumber = 1) -> Response:
        found, total = state.suppressions.browse(offset=(page - 1) * PAGE_SIZE, size=PAGE_SIZE)
        return _page(
            "suppressions.html",
            here="suppressions",
            suppressions=found,
            paging=paging("/suppressions", page, PAGE_SIZE, total),
        )

    @app.get("/robots.txt", include_in_schema=False)
    def robots() -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

"""What a provider adds to a mail at delivery: open pixel, click tracking, the way out.

Every address that is added holds a message id, a number and a signature, never a destination: where a click
leads stands in the database, so that nobody can make the ESP redirect anywhere else.
"""

import base64
import hashlib
import hmac
import html
import re
from dataclasses import dataclass
from email import policy
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import format_datetime, make_msgid
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

from letterpress.demo.esp.clock import parse_instant

OPEN, CLICK, UNSUBSCRIBE = "t/o", "t/c", "u"

_PLACEHOLDER = re.compile(r"%(?:25)?%(?:25)?unsubscribe_url%(?:25)?%(?:25)?|\{\{\s*unsubscribe_url\s*\}\}")
_HREF = re.compile(r"""(\shref\s*=\s*)("[^"]*"|'[^']*'|[^\s>]+)""", re.IGNORECASE)


class _Headers(HeaderRegistry):
    """Parsed headers; the few that describe a part are asked for dozens of times a mail, and cost most of it."""

    def __init__(self):
        super().__init__()
        self._parsed_once = lru_cache(maxsize=256)(super().__call__)

    def __call__(self, name: str, value: str) -> Any:
        return (self._parsed_once if name.lower().startswith("content-") else super().__call__)(name, value)


_PARSED = policy.SMTP.clone(header_factory=_Headers())
# Long headers stay on one line: folding would encode the address in List-Unsubscribe.
_DELIVERED = _PARSED.clone(max_line_length=998)
_PRIVATE_HEADERS = ("X-Letterpress-Idempotency-Key", "List-Unsubscribe", "List-Unsubscribe-Post", "Bcc")
_MAIL_SCANNERS = re.compile(
    r"barracuda|mimecast|proofpoint|messagelabs|fireeye|trendmicro|forcepoint|cloudmark|safelinks|bitdefender"
    r"|emailsecurity|url-?scan|bot\b|crawler|spider",
    re.IGNORECASE,
)


class Signer:
    """Makes and reads the addresses of pixel, links and unsubscribe page (HMAC-SHA256, cut to 128 bits)."""

    def __init__(self, key: bytes):
        self._key = key

    def path(self, kind: str, message_id: str, number: int = 0) -> str:
        """``<kind>/<message_id>.<number>.<signature>``."""
        return f"{kind}/{message_id}.{number}.{self._signature(kind, message_id, number)}"

    def read(self, kind: str, token: str) -> tuple[str, int] | None:
        """Message id and number of a token that was made here for this kind; ``None`` for any other."""
        message_id, _, rest = token.partition(".")
        number, _, signature = rest.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) < 7 and signature.isascii()):
            return None
        if not hmac.compare_digest(signature, self._signature(kind, message_id, int(number))):
            return None
        return message_id, int(number)

    def _signature(self, kind: str, message_id: str, number: int) -> str:
        digest = hmac.digest(self._key, f"{kind}\n{message_id}\n{number}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


@dataclass(frozen=True)
class Delivered:
    """A mail as it lies in the mailbox, where its numbered links lead, and its first words."""

    content: bytes
    links: list[str]
    preview: str


def is_machine(user_agent: str | None) -> bool:
    """Whether a program fetched the pixel or link, not the person.

    Apple's Mail Privacy Protection loads every image at delivery and calls itself plainly ``Mozilla/5.0``;
    mail filters name themselves, or send nothing. Gmail's and Yahoo's image proxies fetch when the person
    opens the mail, so those are human.
    """
    agent = (user_agent or "").strip()
    if re.search(r"GoogleImageProxy|YahooMailProxy", agent):
        return False
    return agent in ("", "Mozilla/5.0") or _MAIL_SCANNERS.search(agent) is not None


def parse(content: bytes) -> EmailMessage:
    """A mail from its bytes."""
    message = BytesParser(policy=_PARSED).parsebytes(content)
    assert isinstance(message, EmailMessage)
    return message


def prepare(
    message: EmailMessage,
    *,
    message_id: str,
    base_url: str,
    signer: Signer,
    accepted_at: str,
    is_tracked: bool,
) -> Delivered:
    """Make the delivered form of a mail.

    A tracked mail (one that Letterpress sends for a campaign) gets its http links redirected, a pixel, its
    unsubscribe placeholder replaced or a line added where it has none, and the one-click headers of RFC 8058.
    Any other mail, such as an alert, stays as it is.
    """
    preview = _preview(message)
    for name in _PRIVATE_HEADERS if is_tracked else _PRIVATE_HEADERS[:1]:
        del message[name]
    if message["Date"] is None:
        message["Date"] = format_datetime(parse_instant(accepted_at))
    if message["Message-ID"] is None:
        message["Message-ID"] = make_msgid(idstring=message_id, domain="letterpress.localhost")
    if not is_tracked:
        return Delivered(message.as_bytes(policy=_DELIVERED), [], preview)

    unsubscribe = f"{base_url}/{signer.path(UNSUBSCRIBE, message_id)}"
    message["List-Unsubscribe"] = f"<{unsubscribe}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    links: list[str] = []

    def track(url: str) -> str:
        if url not in links:
            links.append(url)
        return f"{base_url}/{signer.path(CLICK, message_id, links.index(url))}"

    html_part = message.get_body(("html",))
    text_part = message.get_body(("plain",))
    if text_part is not None:
        text = text_part.get_content()
        had_way_out = _PLACEHOLDER.search(text) is not None
        text = _PLACEHOLDER.sub(lambda _: unsubscribe, text)
        if not had_way_out:
            text = f"{text.rstrip()}\n\nUnsubscribe: {unsubscribe}\n"
        text_part.set_content(text)
    if html_part is not None:
        pixel = f"{base_url}/{signer.path(OPEN, message_id)}"
        html_part.set_content(
            _track_html(html_part.get_content(), track=track, pixel=pixel, unsubscribe=unsubscribe),
            subtype="html",
        )
    return Delivered(message.as_bytes(policy=_DELIVERED), links, preview)


def _preview(message: EmailMessage) -> str:
    part = message.get_body(("plain", "html"))
    text = part.get_content() if part is not None else ""
    if part is not None and part.get_content_subtype() == "html":
        text = html.unescape(re.sub(r"(?is)<(head|style|script)\b.*?</\1>|<!--.*?-->|<[^>]*>", " ", text))
    return " ".join(_PLACEHOLDER.sub(" ", text).split())[:160]


def _track_html(source: str, *, track, pixel: str, unsubscribe: str) -> str:
    had_way_out = _PLACEHOLDER.search(source) is not None
    source = _PLACEHOLDER.sub(lambda _: html.escape(unsubscribe), source)
    source = _Redirected(source, track, unsubscribe).result
    added = f'<img src="{html.escape(pixel)}" width="1" height="1" alt="" style="display:block;border:0">'
    if not had_way_out:
        added = (
            '<p style="font:12px sans-serif;color:#6b7280;text-align:center;margin:24px 0">'
            f'<a href="{html.escape(unsubscribe)}" style="color:#6b7280">Unsubscribe</a></p>{added}'
        )
    end = source.lower().rfind("</body")
    return source + added if end < 0 else source[:end] + added + source[end:]


class _Redirected(HTMLParser):
    """Replaces the ``href`` of links and leaves every other byte of the mail as its author wrote it."""

    def __init__(self, source: str, track, unsubscribe: str):
        super().__init__(convert_charrefs=False)
        self._source = source
        self._track = track
        self._unsubscribe = unsubscribe
        self._starts = [0]
        for line in source.split("\n")[:-1]:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._done = 0
        self._pieces: list[str] = []
        self.feed(source)
        self.close()
        self.result = "".join(self._pieces) + source[self._done :]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("a", "area"):
            return
        url = (dict(attrs).get("href") or "").strip()
        if not url.lower().startswith(("http://", "https://")) or url == self._unsubscribe:
            return
        line, column = self.getpos()
        start = self._starts[line - 1] + column
        text = self.get_starttag_text() or ""
        tracked = html.escape(self._track(url))
        self._pieces.append(self._source[self._done : start])
        self._pieces.append(_HREF.sub(lambda found: f'{found[1]}"{tracked}"', text, count=1))
        self._done = start + len(text)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

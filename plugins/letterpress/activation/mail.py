"""One mail: MJML and CSS once for each template, Liquid once for each person, HTML and plain text.

A template is a pair in ``templates/``: ``<name>.mjml`` and ``<name>.txt``. Values are escaped in HTML.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"
UNSUBSCRIBE = "%%unsubscribe_url%%"


class TemplateError(Exception):
    """A template that cannot be rendered: its file and what is wrong."""


@dataclass(frozen=True)
class Rendered:
    """What one person reads."""

    subject: str
    html: str
    text: str


class MailTemplate:
    """A template compiled once: ``render`` fills in one person.

    Raises TemplateError for a missing file, broken MJML or Liquid, and a body without the way out.
    """

    def __init__(self, name: str, *, subject: str, preheader: str, folder: Path = TEMPLATES):
        import liquid

        self.name = name
        html, text = (self._read(folder, f"{name}{suffix}") for suffix in (".mjml", ".txt"))
        for file, body in ((f"{name}.mjml", html), (f"{name}.txt", text)):
            if UNSUBSCRIBE not in body:
                raise TemplateError(f"{file}: expected the way out, {UNSUBSCRIBE}, found none")
        escaping = liquid.Environment(autoescape=True, undefined=liquid.StrictUndefined)
        plain = liquid.Environment(undefined=liquid.StrictUndefined)
        try:
            self._html = escaping.from_string(_compile(html, f"{name}.mjml"))
            self._text = plain.from_string(text)
            self._subject = plain.from_string(subject)
            self._preheader = plain.from_string(preheader)
        except liquid.exceptions.LiquidError as error:
            raise TemplateError(f"{name}: broken Liquid: {error}") from None

    def render(self, values: Mapping[str, Any]) -> Rendered:
        """One person's mail; raises TemplateError naming a variable that the template needs and nobody gave."""
        from liquid.exceptions import LiquidError

        clean = {name: one_line(value) if isinstance(value, str) else value for name, value in values.items()}
        try:
            subject = one_line(self._subject.render(**clean))
            clean |= {"subject": subject, "preheader": one_line(self._preheader.render(**clean))}
            return Rendered(subject, self._html.render(**clean), self._text.render(**clean))
        except LiquidError as error:
            raise TemplateError(f"{self.name}: {error}") from None

    @staticmethod
    def _read(folder: Path, file: str) -> str:
        try:
            return (folder / file).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise TemplateError(f"{file}: expected a template in {folder.name}/, found no such file") from None


def compose(rendered: Rendered, *, sender_name: str, sender_address: str, recipient: str) -> EmailMessage:
    """The message with both parts, plain text first as RFC 2046 wants it."""
    message = EmailMessage()
    message["From"] = Address(sender_name, addr_spec=sender_address)
    message["To"] = recipient
    message["Subject"] = rendered.subject
    message.set_content(rendered.text)
    message.add_alternative(rendered.html, subtype="html")
    return message


def one_line(text: str) -> str:
    """Control characters and line breaks become one blank: a name cannot write headers."""
    return re.sub(r"[\x00-\x20\x7f\x85\u2028\u2029]+", " ", text).strip()


def _compile(source: str, file: str) -> str:
    import css_inline
    from mjml import mjml2html

    try:
        html = mjml2html(source, disable_comments=True)
    except ValueError as error:
        raise TemplateError(f"{file}: broken MJML: {error}") from None
    inliner = css_inline.CSSInliner(keep_style_tags=True, keep_at_rules=True, load_remote_stylesheets=False)
    return inliner.inline(html)

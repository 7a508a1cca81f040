"""The SMTP side: one recipient a mail, refused where suppressed, accepted once for each key."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Envelope as SmtpEnvelope

from letterpress.demo.esp.addresses import is_valid
from letterpress.demo.esp.clock import instant
from letterpress.demo.esp.faults import Faults
from letterpress.demo.esp.mailbox import Envelope, KeyOfAnotherMessage, Mailbox, SuppressedRecipient
from letterpress.demo.esp.tracking import Signer, parse, prepare

_log = logging.getLogger(__name__)

MAXIMUM_SIZE = 10 * 1024 * 1024
MAXIMUM_KEY = 200


class Handler:
    """Answers RCPT and DATA; every answer to DATA comes after the commit."""

    def __init__(
        self,
        mailbox: Mailbox,
        *,
        signer: Signer,
        clock: Callable[[], datetime],
        base_url: Callable[[], str],
        faults: Faults,
    ):
        self._mailbox = mailbox
        self._signer = signer
        self._clock = clock
        self._base_url = base_url
        self._faults = faults

    async def handle_RCPT(self, server, session, envelope: SmtpEnvelope, address: str, options: list) -> str:
        """One recipient, deliverable and not suppressed."""
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient for each mail: send another mail"
        if not is_valid(address):
            return "553 5.1.3 Not a deliverable address"
        reason = await asyncio.to_thread(self._mailbox.is_refused, address)
        if reason is not None:
            return f"550 5.7.1 Recipient is suppressed: {reason}"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope: SmtpEnvelope) -> str:
        """Store and deliver; a repeat of a key gets the answer of the first time."""
        fault = self._faults.take("DATA", "smtp")
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.status is not None:
                return f"{fault.status} 4.3.0 Try again later"
        answer = await asyncio.to_thread(self._accept, envelope)
        if fault is not None and fault.loses_answer and server.transport is not None:
            server.transport.abort()
        return answer

    async def handle_exception(self, error: Exception) -> str:
        """What went wrong is for our log; the sender may try again, and its key keeps the mail single."""
        _log.error("a mail was not taken in", exc_info=error)
        return "451 4.3.0 Local error in processing: try again later"

    def _accept(self, envelope: SmtpEnvelope) -> str:
        content = envelope.content
        message = parse(content if isinstance(content, bytes) else (content or "").encode())
        given = {name: _header(message, name) for name in ("Idempotency-Key", "Campaign", "Campaign-Name", "Customer")}
        key = given["Idempotency-Key"]
        if key is not None and len(key) > MAXIMUM_KEY:
            return f"554 5.6.0 X-Letterpress-Idempotency-Key is longer than {MAXIMUM_KEY} characters"
        accepted_at = instant(self._clock())

        def deliver(message_id: str):
            return prepare(
                message,
                message_id=message_id,
                base_url=self._base_url(),
                signer=self._signer,
                accepted_at=accepted_at,
                is_tracked=any(given.values()),
            )

        try:
            message_id = self._mailbox.accept(
                Envelope(
                    idempotency_key=key,
                    campaign_id=given["Campaign"],
                    campaign_name=given["Campaign-Name"] or given["Campaign"],
                    external_id=given["Customer"],
                    sender=str(message["From"] or envelope.mail_from or ""),
                    recipient=envelope.rcpt_tos[0],
                    subject=str(message["Subject"] or ""),
                ),
                deliver,
                accepted_at,
            )
        except SuppressedRecipient as refusal:
            return f"550 5.7.1 Recipient is suppressed: {refusal.reason}"
        except KeyOfAnotherMessage:
            return "554 5.5.0 This idempotency key belongs to a mail to another recipient"
        return f"250 2.0.0 Ok: queued as {message_id}"


def _header(message, name: str) -> str | None:
    value = message[f"X-Letterpress-{name}"]
    return (str(value).strip() or None) if value is not None else None


def protocol(handler: Handler) -> SMTP:
    """A connection's protocol, for ``loop.create_server``."""
    return SMTP(
        handler,
        hostname="letterpress.localhost",
        ident="Letterpress ESP",
        data_size_limit=MAXIMUM_SIZE,
        enable_SMTPUTF8=True,
        timeout=60,
        loop=asyncio.get_running_loop(),
    )

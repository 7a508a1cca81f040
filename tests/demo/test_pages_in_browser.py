"""What a person sees, in a real browser: the outbox, and a mail that counts as opened when it is looked at. Slow."""

import shutil
import smtplib
import subprocess
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from letterpress.demo.esp import running

pytestmark = pytest.mark.slow

TOKEN = "browser-esp-token"


def browse(url: str, folder: Path, picture: Path) -> str:
    """The page's DOM after its scripts and frames have loaded, and a picture of it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed here (scripts/install-test-extras)")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder}", "--window-size=1400,1000", "--virtual-time-budget=8000"]
    subprocess.run([*command, f"--screenshot={picture}", url], check=True, capture_output=True, timeout=120)
    dom = subprocess.run([*command, "--dump-dom", url], check=True, capture_output=True, text=True, timeout=120)
    return dom.stdout


def test_a_mail_in_the_outbox_is_shown_and_looking_at_it_comes_back_as_an_open(tmp_path):
    with running(tmp_path / "esp", token=TOKEN) as esp:
        mail = EmailMessage()
        mail["From"], mail["To"] = "shop@example.com", "ada@example.com"
        mail["Subject"] = "A <b>bold</b> hello"
        mail["X-Letterpress-Idempotency-Key"] = "key-1"
        mail["X-Letterpress-Campaign"] = "welcome"
        mail["X-Letterpress-Campaign-Name"] = "Welcome"
        mail["X-Letterpress-Customer"] = "customer-1"
        mail.set_content("Hello Ada")
        mail.add_alternative(
            "<html><body><h1 style='background:#b33;color:#fff'>Hello Ada</h1>"
            "<a href='https://shop.example.com/'>Look</a> <a href='%%unsubscribe_url%%'>Unsubscribe</a></body></html>",
            subtype="html",
        )
        with smtplib.SMTP(esp.smtp_host, esp.smtp_port) as smtp:
            smtp.send_message(mail)

        outbox = browse(f"{esp.base_url}/", tmp_path / "profile-1", tmp_path / "outbox.png")
        assert "ada@example.com" in outbox
        assert "A &lt;b&gt;bold&lt;/b&gt; hello" in outbox, "a subject is text, not markup"
        headers = {"Authorization": f"Bearer {esp.token}"}
        kinds = [
            event["event_type"] for event in httpx.get(f"{esp.base_url}/api/events", headers=headers).json()["data"]
        ]
        assert "open" not in kinds, "the list alone opens nothing"

        receipt = httpx.get(f"{esp.base_url}/api/messages/key-1", headers=headers).json()
        page = browse(f"{esp.base_url}/messages/{receipt['message_id']}", tmp_path / "profile-2", tmp_path / "mail.png")
        assert "<iframe" in page
        events = httpx.get(f"{esp.base_url}/api/events", headers=headers).json()["data"]
        opened = [event for event in events if event["event_type"] == "open"]
        assert opened, [event["event_type"] for event in events]
        assert {event["customer_id"] for event in opened} == {"customer-1"}
        assert not any(event["is_machine_open"] for event in opened)
    assert (tmp_path / "mail.png").stat().st_size > 10_000

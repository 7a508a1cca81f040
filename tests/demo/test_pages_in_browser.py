"""What a person sees, in a real browser: the outbox and its mails, the shop with its clock and its events. Slow."""

import base64
import fcntl
import json
import os
import select
import shutil
import smtplib
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from letterpress.demo.esp import running
from letterpress.demo.shop.app import create_app

pytestmark = pytest.mark.slow

TOKEN = "browser-esp-token"


def chromium(folder: Path) -> list[str]:
    """The command of a browser that keeps to itself, with its profile in the folder."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed here (scripts/install-test-extras)")
    command = [found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    return [*command, f"--user-data-dir={folder}", "--window-size=1400,1000"]


def browse(url: str, folder: Path, picture: Path) -> str:
    """The page's DOM after its scripts and frames have loaded, and a picture of it."""
    command = [*chromium(folder), "--virtual-time-budget=8000"]
    subprocess.run([*command, f"--screenshot={picture}", url], check=True, capture_output=True, timeout=120)
    dom = subprocess.run([*command, "--dump-dom", url], check=True, capture_output=True, text=True, timeout=120)
    return dom.stdout


class Tab:
    """A page of a running browser, used as a person does: opened, read, clicked, looked at."""

    def __init__(self, process: subprocess.Popen, commands: int, answers: int):
        self._process, self._commands, self._answers = process, commands, answers
        self._buffer, self._count, self._session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol and what comes back."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while True:
            while b"\0" not in self._buffer:
                ready, _, _ = select.select([self._answers], [], [], max(end - time.monotonic(), 0))
                assert ready, f"{method}: no answer from the browser within a minute"
                more = os.read(self._answers, 1 << 20)
                assert more, f"{method}: the browser ended"
                self._buffer += more
            found, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(found)
            if answer.get("id") == self._count:
                if "context" in answer.get("error", {}).get("message", ""):  # of a page that has just gone
                    return {"result": {}}
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def read(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 30) -> Any:
        """The value of an expression as soon as it is true, on this page or the one that is coming."""
        end = time.monotonic() + seconds
        whole = f"(() => {{ try {{ return {expression} }} catch (error) {{ return null }} }})()"
        while not (value := self.read(whole)):
            assert time.monotonic() < end, f"not true within {seconds} s: {expression}"
            time.sleep(0.05)
        return value

    def open(self, url: str) -> None:
        """Go to an address and wait until its page is there, with its pictures."""
        self.call("Page.navigate", url=url)
        self.wait(f"location.href == {json.dumps(url)} && document.readyState == 'complete'")

    def click(self, text: str) -> None:
        """Click where the button of this text is, as a mouse does."""
        place = self.read(f"""(() => {{
            const all = [...document.querySelectorAll("button, a")];
            const one = all.find((element) => element.textContent.trim() == {json.dumps(text)});
            one.scrollIntoView({{block: "center"}});
            const box = one.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """What the page looks like now."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def tab(folder: Path) -> Iterator[Tab]:
    """A browser that is told what to do through pipes, which it takes at 3 and 4."""
    command = [*chromium(folder), "--remote-debugging-pipe"]
    pipes = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for pair in (os.pipe(), os.pipe()) for end in pair]
    told, commands, answers, tells = pipes
    script = f'exec "$@" 3<&{told} 4>&{tells}'
    process = subprocess.Popen(
        ["/bin/bash", "-c", script, "browser", *command], pass_fds=(told, tells), stderr=subprocess.DEVNULL
    )
    os.close(told)
    os.close(tells)
    try:
        yield Tab(process, commands, answers)
    finally:
        process.terminate()
        process.wait(30)
        os.close(commands)
        os.close(answers)


@contextmanager
def shop(home: Path) -> Iterator[str]:
    """A small shop on a free port."""
    app = create_app(home=home, seed=11, customers=60, days=45, today=datetime(2011, 1, 12, tzinfo=UTC))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it was ready"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


CLOCK = "document.getElementById('clock').dateTime.slice(0, 16)"


def test_clicks_on_next_hour_and_next_day_move_the_shops_clock(tmp_path):
    with shop(tmp_path / "home") as address, tab(tmp_path / "profile") as page:
        page.open(f"{address}/")
        assert page.read(CLOCK) == "2011-01-12T00:00"

        page.click("Next hour")
        page.wait(f"{CLOCK} == '2011-01-12T01:00'")
        page.click("Next day")
        page.wait(f"{CLOCK} == '2011-01-13T01:00'")
        assert "Thursday, 13 January 2011" in page.read("document.body.innerText")
        assert page.read("location.pathname") == "/"

        page.open(f"{address}/c/toys")
        page.click("Next hour")
        page.wait(f"{CLOCK} == '2011-01-13T02:00' && location.pathname == '/c/toys'")
        assert httpx.get(f"{address}/v1/clock").json() == {"now": "2011-01-13T02:00:00Z"}


def test_a_product_page_shows_its_picture_and_the_storefront_all_of_theirs(tmp_path):
    with shop(tmp_path / "home") as address, tab(tmp_path / "profile") as page:
        page.open(f"{address}/p/P0001?utm_source=letterpress&utm_medium=email&utm_campaign=weekly")
        picture = "document.querySelector('img.large')"
        page.wait(f"{picture}.complete && {picture}.naturalWidth > 0")
        assert page.read(f"{picture}.alt") == page.read("document.querySelector('h1').textContent")
        assert page.read(f"{picture}.getBoundingClientRect().width") > 300
        page.picture(tmp_path / "product.png")
        assert (tmp_path / "product.png").stat().st_size > 20_000

        page.open(f"{address}/")
        page.read("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
        page.wait("[...document.images].every((one) => one.complete)")
        assert page.read("document.images.length") > 20
        assert page.read("[...document.images].every((one) => one.naturalWidth > 0)")
        assert page.read("getComputedStyle(document.body).display") == "flex", "the style sheet is applied"


def test_the_page_of_events_shows_new_ones_without_being_loaded_again(tmp_path):
    with shop(tmp_path / "home") as address, tab(tmp_path / "profile") as page:
        page.open(f"{address}/events")
        page.wait("document.getElementById('live').textContent == 'live'")
        page.read("window.sameLoad = true")
        assert page.read("document.querySelectorAll('tr.new').length") == 0

        httpx.post(f"{address}/v1/clock/advance", json={"days": 1}, timeout=60).raise_for_status()
        shown = page.wait("document.querySelectorAll('tr.new').length")
        page.wait(f"{CLOCK} == '2011-01-13T00:00'")
        newest = page.read("document.querySelector('#events tr').innerText")
        assert "Jan" in newest

        page.click("Next day")
        page.wait(f"{CLOCK} == '2011-01-14T00:00'")
        page.wait(f"document.querySelectorAll('tr.new').length > {shown}")
        assert page.read("window.sameLoad") is True, "the page was not loaded again"
        assert page.read("document.querySelectorAll('#events tr').length") <= 300


def test_on_a_narrow_screen_no_page_is_wider_than_the_screen(tmp_path):
    with shop(tmp_path / "home") as address, tab(tmp_path / "profile") as page:
        page.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        for path in ("/", "/c/toys", "/p/P0001", "/customers", "/customers/C000001", "/events", "/about", "/nowhere"):
            page.open(address + path)
            assert page.read("document.documentElement.scrollWidth") <= 390, path


def test_the_pages_follow_a_dark_screen(tmp_path):
    with shop(tmp_path / "home") as address, tab(tmp_path / "profile") as page:
        colours = {}
        for scheme in ("light", "dark"):
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            page.open(f"{address}/")
            colours[scheme] = page.read("getComputedStyle(document.body).backgroundColor")
    lightness = {scheme: sum(map(int, colour[4:-1].split(","))) for scheme, colour in colours.items()}
    assert lightness["light"] > 600
    assert lightness["dark"] < 150


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

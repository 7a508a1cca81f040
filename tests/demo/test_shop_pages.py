"""The shop's pages over HTTP: what a person finds there, that the clock moves, and what stays hidden."""

import html
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from letterpress.demo.shop.app import Fault, create_app
from letterpress.demo.shop.browse import EVENT_KINDS
from letterpress.demo.shop.mailboxes import Mailboxes
from letterpress.demo.shop.pictures import picture, shapes
from letterpress.demo.simulation.schemas import ENTITIES
from letterpress.demo.simulation.vocabulary import ADJECTIVES, CATEGORIES

pytestmark = pytest.mark.usefixtures("played_once")

TODAY = datetime(2011, 1, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def shop(home: Path, **more) -> FastAPI:
    return create_app(home=home, seed=11, customers=50, days=45, today=TODAY, **more)


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    """A shop that nobody changes."""
    with TestClient(shop(tmp_path_factory.mktemp("shop")), base_url="http://shop") as client:
        yield client


@pytest.fixture
def own_app(tmp_path) -> FastAPI:
    """A shop for one test."""
    return shop(tmp_path)


@pytest.fixture
def own_client(own_app) -> TestClient:
    return TestClient(own_app, base_url="http://shop")


def rows(client: TestClient, entity: str) -> list[dict]:
    found, cursor = [], None
    while True:
        page = client.get(f"/v1/{entity}", params={"page_size": 1_000} | ({"cursor": cursor} if cursor else {})).json()
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def write(app: FastAPI, entity: str, key: str, **changes) -> None:
    """Overwrite fields of a row behind the shop's back; None takes the field away."""
    with closing(sqlite3.connect(app.state.store.path)) as connection, connection:
        body = json.loads(connection.execute(f"select body from {entity} where key = ?", (key,)).fetchone()[0])
        body = {name: value for name, value in (body | changes).items() if value is not None or name not in changes}
        connection.execute(f"update {entity} set body = ? where key = ?", (json.dumps(body).encode(), key))


def links(page: str, beginning: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'href="([^"]+)"', page) if link.startswith(beginning)]


def clock(page: str) -> str:
    return re.search(r'<time id="clock" datetime="([^"]+)"', page).group(1)[:16]


def test_the_storefront_shows_the_clock_the_shelves_and_priced_pictured_products(client):
    page = client.get("/")

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert clock(page.text) == "2011-01-12T00:00"
    assert "Wednesday, 12 January 2011" in page.text
    products = {product["product_id"]: product for product in rows(client, "products")}
    assert set(links(page.text, "/c/")) == {
        f"/c/{one['category'].lower()}" for one in products.values() if one["category"]
    }
    shown = links(page.text, "/p/")
    assert shown
    for link in shown:
        product = products[link.removeprefix("/p/")]
        assert html.escape(product["name"]) in page.text
        assert f"£{product['price']:,.2f}" in page.text
        assert f'src="/pictures/{product["product_id"]}.svg"' in page.text
    newer = min(products[link.removeprefix("/p/")]["created_at"] for link in shown)
    left_out = products.keys() - {link.removeprefix("/p/") for link in shown}
    assert all(products[one]["created_at"] <= newer for one in left_out), "the newest products come first"


def test_the_storefront_counts_what_the_api_shows_of_the_last_24_hours(client):
    since = "2011-01-11T00:00:00.000Z"
    orders = [order for order in rows(client, "orders") if order["ordered_at"] > since]
    visitors = {event["anonymousId"] for event in rows(client, "events") if event["receivedAt"] > since}
    mails = [mail for mail in rows(client, "email_events") if mail["received_at"] > since]
    sent = [mail for mail in mails if mail["event_type"] == "sent"]
    taken = sum(order["total_amount"] for order in orders if order["currency"] == "GBP")

    page = client.get("/").text

    assert f"<b>{len(orders)}</b><span>orders today</span>" in page
    assert f"<b>{len(visitors)}</b><span>visitors today</span>" in page
    assert f"<b>{len(sent)}</b><span>mails today</span>" in page
    assert f"<b>£{taken:,.2f}</b>" in page
    assert visitors, "the day before has visitors"


def test_the_buttons_move_the_clock_and_lead_back_to_the_page_they_were_on(own_client):
    hour = own_client.post(
        "/next-hour", headers={"Origin": "http://shop", "Referer": "http://shop/customers?q=a"}, follow_redirects=False
    )
    assert (hour.status_code, hour.headers["location"]) == (303, "/customers?q=a")
    assert clock(own_client.get("/customers").text) == "2011-01-12T01:00"

    day = own_client.post("/next-day", follow_redirects=True)

    assert day.status_code == 200
    assert clock(day.text) == "2011-01-13T01:00"
    assert "Thursday, 13 January 2011" in day.text


def test_the_buttons_let_people_answer_their_mail_as_the_api_does(tmp_path, caplog):
    # nothing listens there: that the mail was asked for shows in what the shop says, and the clock moves all the same
    app = shop(tmp_path, mailboxes=Mailboxes("http://127.0.0.1:9", "token", timeout=1))

    moved = TestClient(app, base_url="http://shop").post("/next-hour")

    assert clock(moved.text) == "2011-01-12T01:00"
    assert "mail is not answered" in caplog.text


@pytest.mark.parametrize("referer", ["https://elsewhere.example/p/P0001", "http://shop//elsewhere.example/", ""])
def test_a_button_never_leads_to_another_site(own_client, referer):
    moved = own_client.post("/next-hour", headers={"Referer": referer}, follow_redirects=False)

    assert moved.status_code == 303
    assert moved.headers["location"] in ("/", "/elsewhere.example/")


@pytest.mark.parametrize("headers", [{"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_form_of_another_site_does_not_move_the_clock(own_client, headers):
    for path in ("/next-hour", "/next-day"):
        refused = own_client.post(path, headers=headers)
        assert refused.status_code == 403
        assert "another site" in refused.text
    assert own_client.get("/v1/clock").json() == {"now": "2011-01-12T00:00:00Z"}


def test_low_stock_is_said_beside_the_price(own_app, own_client):
    few, none, many, unknown = [product["product_id"] for product in rows(own_client, "products")[:4]]
    write(own_app, "products", few, stock_quantity=3)
    write(own_app, "products", none, stock_quantity="0")
    write(own_app, "products", many, stock_quantity=80)
    write(own_app, "products", unknown, stock_quantity=None, price=None)

    assert "only 3 left" in own_client.get(f"/p/{few}").text
    assert "sold out" in own_client.get(f"/p/{none}").text
    assert "in stock" in own_client.get(f"/p/{many}").text
    assert own_client.get(f"/p/{unknown}").status_code == 200
    shelf = own_client.get("/", params={"q": rows(own_client, "products")[0]["category"]}).text
    assert "in stock" not in shelf, "enough is not worth a word on the shelf"


def test_a_search_finds_products_by_any_of_their_words(client):
    products = rows(client, "products")
    wanted = products[7]
    first, *_, last = wanted["name"].split()

    page = client.get("/", params={"q": f"{last.upper()} {first.lower()}"}).text
    shelf = client.get("/", params={"q": wanted["category"]}).text
    nothing = client.get("/", params={"q": "<b>zeppelin"})

    by_link = {f"/p/{product['product_id']}": f"{product['name']} {product['category']}" for product in products}
    assert f"/p/{wanted['product_id']}" in links(page, "/p/")
    assert all(first in by_link[link] and last in by_link[link] for link in links(page, "/p/"))
    assert f"/p/{wanted['product_id']}" in links(shelf, "/p/")
    assert links(nothing.text, "/p/") == []
    assert nothing.status_code == 200
    assert "No product fits" in nothing.text
    assert "<b>zeppelin" not in nothing.text


def test_every_product_can_be_reached_by_turning_pages(client):
    seen, address = [], "/"
    while address:
        page = client.get(address).text
        seen += links(page, "/p/")
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = html.unescape(following.group(1)) if following else None

    assert sorted(seen) == sorted(f"/p/{product['product_id']}" for product in rows(client, "products"))


def test_the_links_of_mails_lead_to_the_product_the_shelf_and_the_storefront(client):
    utm = "utm_source=letterpress&utm_medium=email&utm_campaign=weekly"
    for product in rows(client, "products"):
        page = client.get(f"/p/{product['product_id']}?{utm}")
        assert page.status_code == 200
        assert html.escape(product["name"]) in page.text
        assert html.escape(product["description"]) in page.text
    for category in {product["category"] for product in rows(client, "products")} - {None}:
        shelf = client.get(f"/c/{category.lower()}?{utm}")
        assert shelf.status_code == 200
        assert f"<h2>{category}</h2>" in shelf.text
        assert links(shelf.text, "/p/")
    assert client.get(f"/?{utm}").status_code == 200
    for url in {mail["url"] for mail in rows(client, "email_events") if mail["url"]}:
        assert client.get(httpx.URL(url).raw_path.decode()).status_code == 200


@pytest.mark.parametrize(
    "address", ["/p/P9999", "/p/<script>", "/c/weapons", "/customers/C999999", "/pictures/P9999.svg", "/nowhere"]
)
def test_what_does_not_exist_is_said_on_a_page_that_leads_back(client, address):
    answer = client.get(address)

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "Not found" in answer.text
    assert '<a href="/">To the shop</a>' in answer.text
    assert "<script>" not in answer.text


def test_an_unknown_address_of_the_api_is_answered_to_a_program(client):
    answer = client.get("/v1/nowhere")

    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_every_thing_of_the_catalogue_has_a_drawing_of_its_own():
    things = [thing for category in CATEGORIES for thing in category.things]

    missing = set(things) - shapes().keys()
    drawings = {re.sub(r"<title.*</title>", "", picture(f"Oak {thing}")) for thing in things}

    assert not missing
    assert len(drawings) == len(things)


def test_every_picture_is_small_well_formed_titled_and_unlike_any_other():
    seen = {}
    for adjective in ADJECTIVES:
        for category in CATEGORIES:
            for thing in category.things:
                name = f"{adjective} {thing}"
                drawn = picture(name)
                assert len(drawn.encode()) < 6_000, name
                root = ElementTree.fromstring(drawn)
                assert root.find(f"{SVG}title").text == name
                assert root.get("role") == "img"
                assert len([part for part in root.iter() if part.get("class")]) >= 2, name
                untitled = drawn.replace(name, "")
                assert seen.setdefault(untitled, name) == name, f"{name} looks like {seen[untitled]}"
    assert len(seen) == len(ADJECTIVES) * sum(len(category.things) for category in CATEGORIES)


def test_a_product_that_the_vocabulary_does_not_know_is_drawn_as_a_parcel():
    drawn = picture('Odd <script>"&')

    assert ElementTree.fromstring(drawn).find(f"{SVG}title").text == 'Odd <script>"&'
    assert drawn == picture('Odd <script>"&')


def test_pictures_are_served_to_be_kept_and_asked_for_again(client):
    for product in rows(client, "products"):
        answer = client.get(f"/pictures/{product['product_id']}.svg")
        assert answer.headers["content-type"] == "image/svg+xml"
        assert ElementTree.fromstring(answer.text).find(f"{SVG}title").text == product["name"]
    assert "max-age=3600" in answer.headers["cache-control"]

    again = client.get(f"/pictures/{product['product_id']}.svg", headers={"If-None-Match": answer.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")


def test_customers_are_listed_page_by_page_and_found_by_name_address_or_id(client):
    customers = rows(client, "customers")
    seen, address = [], "/customers"
    while address:
        page = client.get(address).text
        seen += links(page, "/customers/")
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = html.unescape(following.group(1)) if following else None
    assert sorted(seen) == sorted(f"/customers/{customer['customer_id']}" for customer in customers)

    one = next(customer for customer in customers if customer["email"] and customer["first_name"])
    for text in (f"{one['last_name']} {one['first_name'].upper()}", one["email"].strip().upper(), one["customer_id"]):
        found = client.get("/customers", params={"q": text}).text
        assert f"/customers/{one['customer_id']}" in links(found, "/customers/"), text
    assert "No customer fits" in client.get("/customers", params={"q": "zeppelin"}).text


def test_an_accent_makes_no_difference_to_the_search(own_app, own_client):
    write(own_app, "customers", "C000001", first_name="Jürgen", last_name="Groß")
    write(own_app, "customers", "C000002", first_name="Ju\u0308rgen\u00a0Paul", last_name="Gross")

    found = links(own_client.get("/customers", params={"q": "jurgen GROSS"}).text, "/customers/")

    assert found == ["/customers/C000001", "/customers/C000002"]


def test_a_customers_page_shows_their_orders_consents_mails_and_visits(client):
    orders, lines = rows(client, "orders"), rows(client, "order_lines")
    refunds, consents = rows(client, "refunds"), rows(client, "consents")
    mails, events = rows(client, "email_events"), rows(client, "events")
    products = {product["product_id"]: product for product in rows(client, "products")}
    counted: dict[str, int] = {}
    for entity in (orders, consents, mails):
        for who in {row["customer_id"] for row in entity if row["customer_id"]}:
            counted[who] = counted.get(who, 0) + 1
    busy = [who for who, kinds in counted.items() if kinds == 3]
    assert len(busy) > 3
    for who in busy:
        text = client.get(f"/customers/{who}").text
        theirs = {order["order_id"]: order for order in orders if order["customer_id"] == who}
        assert set(re.findall(r'<b class="code">(O\d+)</b>', text)) == theirs.keys()
        for order in theirs.values():
            assert order["status"].replace("_", " ") in text
            assert f"{order['total_amount']:,.2f}" in text
        for line in lines:
            if line["order_id"] in theirs:
                assert html.escape(products[line["product_id"]]["name"]) in text
                assert f"/pictures/{line['product_id']}.svg" in text
        given_back = [refund for refund in refunds if refund["order_id"] in theirs]
        assert text.count("refunded £") + text.count("refunded €") == len(given_back)
        recorded = [consent for consent in consents if consent["customer_id"] == who]
        assert len(re.findall(r'<li class="(?:granted|withdrawn)">', text)) == len(recorded)
        got = {mail["message_id"]: mail for mail in mails if mail["customer_id"] == who}
        assert f"{len(got)} mail" in text
        visited = [event for event in events if event["userId"] == who]
        assert text.count("<tr>") == min(len(visited), 50)
    opened = {mail["customer_id"] for mail in mails if mail["event_type"] == "open" and not mail["is_machine_open"]}
    who = sorted(opened)[0]
    assert '<span class="badge open">opened</span>' in client.get(f"/customers/{who}").text


def test_a_dirty_customer_is_shown_as_typed_and_as_text(own_app, own_client):
    write(
        own_app,
        "customers",
        "C000001",
        first_name="<script>alert(1)</script>",
        last_name=None,
        email="  Ada@Example.COM ",
        birth_date="31/12/1980",
        preferences=None,
        signed_up_at="2010-12-01T10:00:00+01:00",
        favourite_shop="High Street",
    )

    page, listed = own_client.get("/customers/C000001").text, own_client.get("/customers").text

    assert "<script>" not in page + listed
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in listed
    assert '<span class="typed">  Ada@Example.COM </span>' in page
    assert "31/12/1980" in page
    assert "2010-12-01T10:00:00+01:00" in page
    assert "High Street" in page, "a column that appeared is shown too"
    assert page.count("not given") >= 2


def test_rows_that_lack_every_field_do_not_break_a_page(own_app, own_client):
    keep = {"customers": "customer_id", "products": "product_id", "orders": "order_id", "events": "messageId"}
    with closing(sqlite3.connect(own_app.state.store.path)) as connection, connection:
        for entity, name in keep.items():
            for key, body in connection.execute(f"select key, body from {entity}").fetchall():
                bare = {name: json.loads(body)[name]}
                if entity == "orders":
                    bare["customer_id"] = json.loads(body)["customer_id"]
                connection.execute(f"update {entity} set body = ? where key = ?", (json.dumps(bare).encode(), key))

    for address in ("/", "/p/P0001", "/pictures/P0001.svg", "/customers", "/customers/C000001", "/events", "/about"):
        assert own_client.get(address).status_code == 200, address


def test_no_page_reads_what_is_hidden_or_still_to_come(client, monkeypatch):
    read: set[tuple[str, str]] = set()
    connect = sqlite3.connect

    def watch(action, first, second, *_):
        if action == sqlite3.SQLITE_READ:
            read.add((first, second))
        return sqlite3.SQLITE_OK

    def watched(*arguments, **more):
        connection = connect(*arguments, **more)
        connection.set_authorizer(watch)
        return connection

    who = rows(client, "orders")[-1]["customer_id"] or "C000001"
    monkeypatch.setattr(sqlite3, "connect", watched)
    for address in ("/", "/?q=oak", "/c/toys", "/p/P0001", "/customers", "/customers?q=a", f"/customers/{who}"):
        client.get(address)
    for address in ("/events", "/events?kind=page", "/about", "/pictures/P0001.svg"):
        assert client.get(address).status_code == 200

    tables = {table for table, _ in read}
    assert {"customers", "orders", "events"} <= tables, "the watch sees what is read"
    assert tables <= {*ENTITIES, "shop", "json_each", "sqlite_master"}
    assert {column for table, column in read if table == "shop"} == {"now"}


@pytest.mark.parametrize("address", ["/", "/c/toys", "/p/P0001", "/customers", "/customers/C000001", "/events", "/x"])
def test_pages_run_no_script_of_their_rows_and_are_framed_nowhere(client, address):
    page = client.get(address)

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"
    assert not re.search(r"<script(?! src=)|<style| style=| on\w+=", page.text)


def test_the_list_of_events_is_newest_first_and_can_be_of_one_kind(client):
    events = sorted(rows(client, "events"), key=lambda event: event["receivedAt"], reverse=True)

    everything = client.get("/events").text
    assert everything.count("<tr>") == 101  # with the heading
    assert html.escape(events[0]["context"]["page"]["title"]) in everything
    for kind in EVENT_KINDS:
        of_kind = [event for event in events if kind in (event["event"] or event["type"], event["type"])]
        page = client.get("/events", params={"kind": kind}).text
        badges = re.findall(r'<span class="badge [^"]+">([^<]+)</span>', page)
        assert set(badges) <= {kind}
        assert len(badges) == min(len(of_kind), 100)
    assert "JavaScript" in everything, "it says what is missing without a script"


def test_about_counts_the_rows_of_every_list_and_links_to_it(client):
    page = client.get("/about").text

    for entity in ENTITIES:
        count = len(rows(client, entity))
        assert re.search(rf'{entity}</td><td class="number">{count:,}</td>', page), entity
        assert client.get(f"/v1/{entity}?page_size=20").status_code == 200
        assert f'href="/v1/{entity}?page_size=20"' in page
    assert 'href="/docs"' in page


@contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it was ready"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)


def next_message(lines: Iterator[str]) -> dict[str, str]:
    message = {}
    for line in lines:
        if not line and message:
            return message
        if line:
            name, _, value = line.partition(": ")
            message[name] = value
    raise AssertionError("the stream ended")


def test_the_stream_tells_the_page_of_the_clock_and_of_new_events_once(own_app):
    with served(own_app) as client:
        own_app.state.faults.append(Fault(status=503, path="/v1/"))
        source = html.unescape(re.search(r'data-source="([^"]+)"', client.get("/events").text).group(1))
        with client.stream("GET", source) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            at_first = next_message(lines)
            before = set(own_app.state.store.page("events", None, None, 10**6))
            client.post("/next-day")
            moved, news = next_message(lines), next_message(lines)
        came = set(own_app.state.store.page("events", None, None, 10**6)) - before
        told = json.loads(news["data"])
        with client.stream("GET", source, headers={"Last-Event-ID": news["id"]}) as answer:
            lines = answer.iter_lines()
            assert next_message(lines)["event"] == "clock"
            client.post("/next-hour")
            again = next_message(lines)
        assert own_app.state.faults, "what goes wrong in the API does not reach the pages"

    assert (at_first["event"], json.loads(at_first["data"])["instant"]) == ("clock", "2011-01-12T00:00:00.000Z")
    assert (moved["event"], json.loads(moved["data"])["short"]) == ("clock", "Thu 13 Jan 2011")
    assert news["event"] == "news"
    assert told["count"] == len(came) > 0
    assert told["rows"].count('<tr class="new">') == min(len(came), 100)
    assert (again["event"], json.loads(again["data"])["time"]) == ("clock", "01:00"), "nothing is told twice"

"""The shop as a person sees it."""

import html
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

from letterpress.demo.simulation import chance
from letterpress.demo.simulation.store import Store


def install(app: FastAPI, store: Store) -> None:
    """Add the pages."""

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(_page(store))

    @app.post("/next-day", include_in_schema=False)
    def next_day() -> RedirectResponse:
        store.advance(chance.DAY)
        return RedirectResponse("/", 303)


def _page(store: Store) -> str:
    def cell(value: Any) -> str:
        return f"<td>{html.escape(str(value))}</td>"

    counts = "".join(
        f'<tr><td><a href="/v1/{name}?page_size=20">{name}</a></td><td class="number">{count:,}</td></tr>'
        for name, count in store.counts().items()
    )
    events = "".join(
        "<tr>"
        + cell(event["receivedAt"][:19].replace("T", " "))
        + cell(event["event"] or event["type"])
        + cell(event["context"]["page"]["path"])
        + cell(event["userId"] or "unknown")
        + "</tr>"
        for event in store.last("events", 20)
    )
    now = chance.iso(store.now())[:16].replace("T", " ")
    return _HTML.format(now=now, counts=counts, events=events)


_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Demo shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #faf9f6; margin: 0; }}
main {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ margin-bottom: 0; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
.clock {{ display: flex; align-items: center; gap: 1rem; background: #fff; border: 1px solid #ddd;
  border-radius: .5rem; padding: 1rem; }}
.clock strong {{ font-size: 1.4rem; font-variant-numeric: tabular-nums; }}
button {{ font: inherit; color: #fff; background: #1f5f5b; border: 0; border-radius: .4rem; padding: .5rem 1rem;
  cursor: pointer; }}
table {{ border-collapse: collapse; width: 100%; background: #fff; }}
td, th {{ text-align: left; padding: .3rem .75rem; border-bottom: 1px solid #eee; }}
td {{ font-variant-numeric: tabular-nums; }} .number {{ text-align: right; }} a {{ color: #1f5f5b; }}
</style></head><body><main>
<h1>Demo shop</h1>
<p>A simulated retailer's back office: customers, consents, orders, web events and mail, behind a REST API
(<a href="/docs">description</a>). Nobody here exists, and nothing happens until its clock moves.</p>
<div class="clock"><span>The shop's clock</span><strong>{now} UTC</strong>
<form method="post" action="/next-day"><button>Next day</button></form></div>
<h2>Rows</h2><table>{counts}</table>
<h2>Last events</h2>
<table><tr><th>received</th><th>event</th><th>page</th><th>customer</th></tr>{events}</table>
</main></body></html>
"""

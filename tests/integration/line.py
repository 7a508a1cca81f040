"""The whole line on loopback: a demo shop, a local ESP, a stand-in for Klaviyo, and the DAGs, by `dag.test()`."""

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest import mock

import httpx
import uvicorn
from airflow.dag_processing import dagbag
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.dag import DagModel
from fastapi import FastAPI

from letterpress.demo.esp import RunningEsp
from letterpress.demo.esp import running as running_esp
from letterpress.demo.shop.app import create_app
from letterpress.demo.shop.mailboxes import Mailboxes
from letterpress.demo.simulation.switches import Faults
from letterpress.demo.vendors import RunningVendor
from letterpress.demo.vendors import running as running_vendor
from letterpress.operations.environment import environment
from letterpress.settings import REPOSITORY, Settings, settings
from letterpress.sources import load_sources

TOKEN = "line-esp-token"
BUNDLE = "dags-folder"  # as Airflow calls the folder of DAGs

STAGES = (
    "ingest",
    "warehouse_features",
    "models_train",
    "models_score",
    "warehouse_activation",
    "sync_local_esp",
    "sync_klaviyo",
    "campaign_champions_thank_you",
    "documentation",
)


@dataclass
class RunningShop:
    """The demo shop as an API on loopback, with its order database and its files in its home."""

    url: str
    home: Path
    app: FastAPI

    def read_mail_of(self, esp: RunningEsp) -> None:
        """From now on its people answer what this ESP delivers."""
        self.app.state.loop.mailboxes = Mailboxes(esp.base_url, esp.token)

    def rows(self, entity: str) -> list[dict]:
        """Every row of a list, as the API shows it; not through the API, which fails now and then."""
        return [json.loads(body) for _, _, body in self.app.state.store.page(entity, None, None, 10**9)]

    def advance(self, **by: int) -> None:
        """Move the shop's clock."""
        httpx.post(f"{self.url}/v1/clock/advance", json=by, timeout=60).raise_for_status()


@contextmanager
def running_shop(home: Path, *, customers: int, days: int) -> Iterator[RunningShop]:
    """Serve a shop with all its dirt and faults on a free port in a thread until the block ends."""
    app = create_app(home=home, seed=1, customers=customers, days=days, rates=Faults())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield RunningShop(f"http://127.0.0.1:{listener.getsockname()[1]}", home, app)
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@dataclass
class Pass:
    """What one pass over the line did: the state of each task, by ``<dag>.<task>``, and each DAG's seconds."""

    tasks: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Line:
    """A home, a shop, an ESP, and the DAGs over them."""

    home: Path
    shop: RunningShop
    esp: RunningEsp
    klaviyo: RunningVendor
    settings: Settings

    def run(self, *stages: str) -> Pass:
        """Run DAGs one after the other (all unless named)."""
        return run_dags(*(stages or STAGES))

    def esp_rows(self, query: str, *parameters: object) -> list[tuple]:
        """What the ESP's own database holds."""
        with closing(sqlite3.connect(self.home / "esp" / "esp.sqlite", timeout=30)) as connection:
            return connection.execute(query, parameters).fetchall()

    def store_rows(self, query: str, *parameters: object) -> list[tuple]:
        """What the operational stores hold."""
        with closing(sqlite3.connect(self.home / "stores" / "letterpress.sqlite", timeout=30)) as connection:
            return connection.execute(query, parameters).fetchall()

    def published(self, query: str, *parameters: object, channel: str = "activation") -> list[tuple]:
        """Rows of a channel's current version."""
        from letterpress.warehouse import publish
        from letterpress.warehouse.database import connect

        with (
            publish.lease(self.settings.published, channel) as folder,
            connect(folder / "warehouse.duckdb") as connection,
        ):
            return connection.execute(query, list(parameters)).fetchall()


def run_dags(*stages: str) -> Pass:
    """Run each stage's DAGs one after the other by `dag.test()`; `ingest` is one DAG for each source."""
    done = Pass()
    with mock.patch.multiple(dagbag, BundleDagBag=lambda **_: bag(), sync_bag_to_db=lambda *_: write_dags()):
        for stage in stages:
            for dag_id in [f"ingest_{source}" for source in load_sources()] if stage == "ingest" else [stage]:
                began = time.monotonic()
                run = bag().dags[dag_id].test()
                done.seconds[dag_id] = time.monotonic() - began
                done.states[dag_id] = str(run.state)
                done.tasks.update({f"{dag_id}.{one.task_id}": str(one.state) for one in run.get_task_instances()})
    return done


@cache
def bag() -> BundleDagBag:
    """The DAGs of this checkout, parsed once after the environment was set: `dag.test()` would parse them each time."""
    found = BundleDagBag(dag_folder=REPOSITORY / "dags", bundle_path=REPOSITORY / "dags", bundle_name=BUNDLE)
    assert found.import_errors == {}
    return found


def write_dags() -> None:
    """Write the DAGs to Airflow's database, unless it holds them: `dag.test()` would do so each time."""
    if any(DagModel.get_current(dag_id) is None for dag_id in bag().dags):
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag(), BUNDLE, None)


@contextmanager
def environment_of(
    home: Path, shop: RunningShop, esp: RunningEsp, klaviyo: RunningVendor, online_retail: Path | None = None
) -> Iterator[Settings]:
    """The settings and connections of a line, in this process's environment until the block ends."""
    ours = {
        "LETTERPRESS_HOME": str(home),
        "LETTERPRESS_SHOP_URL": shop.url,
        "LETTERPRESS_SHOP_DATABASE_URL": f"sqlite:///{shop.home / 'shop' / 'orders.sqlite'}",
        "LETTERPRESS_SHOP_EXPORTS_FOLDER": str(shop.home / "shop" / "exports"),
        "LETTERPRESS_ESP_URL": esp.base_url,
        "LETTERPRESS_SMTP_PORT": str(esp.smtp_port),
        "LETTERPRESS_ESP_TOKEN": esp.token,
        "LETTERPRESS_KLAVIYO_URL": klaviyo.base_url,
        "LETTERPRESS_KLAVIYO_KEY": klaviyo.token,
        "LETTERPRESS_ONLINE_RETAIL": str(online_retail or ""),
    }
    before = dict(os.environ)
    try:
        os.environ.update(ours)
        settings.cache_clear()
        bag.cache_clear()
        given = environment(settings())
        os.environ.update({name: value for name, value in given.items() if name.startswith("AIRFLOW_CONN_")})
        yield settings()
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
        settings.cache_clear()
        bag.cache_clear()


@contextmanager
def running_line(home: Path, *, customers: int, days: int, online_retail: Path | None = None) -> Iterator[Line]:
    """A line over a shop and an ESP of its own."""
    with (
        running_shop(home, customers=customers, days=days) as shop,
        running_esp(home / "esp", token=TOKEN, shop_url=shop.url) as esp,
        running_vendor("klaviyo", home / "vendors") as klaviyo,
        environment_of(home, shop, esp, klaviyo, online_retail) as given,
    ):
        shop.read_mail_of(esp)
        yield Line(home, shop, esp, klaviyo, given)

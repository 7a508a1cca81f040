"""The commands behind the Makefile: run, down, ui, report, explain, share, rebuild, sync, drift, replay, going back."""

import argparse
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError
from rich.console import Console

from letterpress.activation.configuration import ConfigurationError
from letterpress.operations import services
from letterpress.operations.airflow_client import AirflowClient
from letterpress.operations.environment import environment, passwords_file, secret
from letterpress.operations.line import LineFailed, Stage, engagement_stages, run_line, stages
from letterpress.settings import Settings, settings
from letterpress.warehouse.database import WRITER_POOL

if TYPE_CHECKING:
    from letterpress.activation.destinations import Destination

console = Console(highlight=False, soft_wrap=True)


def tell(line: str) -> None:
    """One line of progress."""
    console.print(f"  {line}", markup=False)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it says, 1 when something failed, 2 for unusable arguments."""
    parser = argparse.ArgumentParser(prog="letterpress", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "down", "ui", "report", "share", "publish-list"):
        commands.add_parser(name)
    commands.add_parser("next-day").add_argument("--days", type=int, default=1)
    sync = commands.add_parser("sync")
    sync.add_argument("destination")
    sync.add_argument("--dry-run", action="store_true")
    drift = commands.add_parser("drift")
    drift.add_argument("destination")
    drift.add_argument("--sample", type=int, default=1_000, help="so many people; 0 for everybody")
    drift.add_argument("--repair", action="store_true", help="let the next sync write again what differs")
    replay = commands.add_parser("replay")
    replay.add_argument("destination")
    replay.add_argument("--code", help="only what was refused with this code")
    commands.add_parser("model-rollback").add_argument("model")
    person = commands.add_parser("explain")
    person.add_argument("customer", help="a customer_id, a source's id such as shop:C000001, or an e-mail address")
    person.add_argument("--safe", action="store_true", help="without personal data, as a log may hold it")
    past = commands.add_parser("rebuild")
    past.add_argument("first", metavar="from", help="the first date or instant, such as 2011-05-01")
    past.add_argument("last", metavar="to", help="the last one, included")
    past.add_argument("--every", type=int, default=1, help="so many days from one to the next")
    past.add_argument("--known-through", type=int, help="know the loads up to this sequence; all unless given")
    past.add_argument("--as-known-then", action="store_true", help="know only what had landed at each instant")
    back = commands.add_parser("publish-rollback")
    back.add_argument("channel", choices=("features", "activation"))
    back.add_argument("--to")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return COMMANDS[chosen.command](settings(), chosen)
    except ValidationError as error:
        for one in error.errors():
            name = "LETTERPRESS_" + "_".join(str(part) for part in one["loc"]).upper()
            console.print(f"{name}: {one['msg']}; next step: mend this environment variable", style="red")
        return 2
    except ConfigurationError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    except (
        services.PortTaken,
        services.StartFailed,
        LineFailed,
        LookupError,
        OSError,
        RuntimeError,
    ) as error:
        console.print(str(error), style="red", markup=False)
        return 1


def run(config: Settings, chosen: argparse.Namespace) -> int:
    """Start the services, run the line through Airflow, print the report."""
    from letterpress.operations import report

    client = _start(config)
    before = report.snapshot(config)
    console.print("Running the line", style="bold")
    result = run_line(client, config, tell=tell)
    if report.sent_since(config, before):
        console.print("Taking the ESP's events back", style="bold")
        result.add(run_line(client, config, tell=tell, wanted=engagement_stages(config)))
    text = report.render(config, before=before, line=result)
    console.print(text)
    return 0


def ui(config: Settings, chosen: argparse.Namespace) -> int:
    """Start the services alone."""
    from letterpress.operations import report

    _start(config)
    console.print(report.where_to_look(config))
    return 0


def down(config: Settings, chosen: argparse.Namespace) -> int:
    """Stop what was started."""
    services.stop_all(config, tell=tell)
    return 0


def next_day(config: Settings, chosen: argparse.Namespace) -> int:
    """Advance the demo shop's clock."""
    answer = httpx.post(f"{config.shop}/v1/clock/advance", json={"days": chosen.days}, timeout=300)
    answer.raise_for_status()
    tell(f"the shop's clock stands at {answer.json()['now']}; next: `make run`")
    return 0


def show_report(config: Settings, chosen: argparse.Namespace) -> int:
    """The report of what stands now."""
    from letterpress.operations import report

    console.print(report.render(config, before=None, line=None))
    return 0


def sync(config: Settings, chosen: argparse.Namespace) -> int:
    """Plan only, or one sync DAG run through Airflow."""
    from letterpress.activation.syncs import latest, render

    where = _destination(chosen)
    if not chosen.dry_run:
        client = _start(config)
        run_line(client, config, tell=tell, wanted=[Stage("activation: sync", [f"sync_{where.name}"])])
        found = latest(config.plans, where.name)
        if found:
            console.print(render(*found), markup=False)
        return 0
    from letterpress.activation.plan import make_plan
    from letterpress.warehouse import publish

    with publish.lease(config.published, "activation") as folder:
        plan = make_plan(
            destination=where,
            version_dir=str(folder),
            stores_url=config.stores,
            identity_key=secret(config, "identity_key").encode(),
            plans=f"{config.plans}/dry-run",  # apart from those that were carried out: the report shows these
            run_id="dry-run",
        )
    console.print(render(plan), markup=False)
    return 0


def drift(config: Settings, chosen: argparse.Namespace) -> int:
    """Compare what a destination holds with the ledger, through Airflow."""
    from letterpress import storage
    from letterpress.activation.drift import Drift, render

    where, client = _destination(chosen), _start(config)
    conf = {"sample": chosen.sample or None, "repair": chosen.repair}
    run_line(client, config, tell=tell, wanted=[Stage("activation: drift", [f"drift_{where.name}"])], conf=conf)
    found = storage.read_json(storage.join(config.plans, where.name, "drift", "latest.json"))
    console.print(render(Drift(**found)), markup=False)
    return 0


def replay(config: Settings, chosen: argparse.Namespace) -> int:
    """Let what a destination refused be tried again by the next sync."""
    from letterpress.activation import ledger, stores

    where = _destination(chosen)
    with stores.opened(config.stores) as engine, stores.writing(engine) as connection:
        number = ledger.replay(connection, where.name, error_code=chosen.code)
    tell(f"{where.name}: {number:,} refused rows will be tried again; next: `make sync DESTINATION={where.name}`")
    return 0


def _destination(chosen: argparse.Namespace) -> "Destination":
    from letterpress.activation.configuration import nearest
    from letterpress.activation.destinations import destinations

    known = destinations()
    if chosen.destination not in known:
        raise ConfigurationError(
            f"destination: expected one that is switched on in destinations.yml, found {chosen.destination!r}; "
            f"{nearest(chosen.destination, list(known))}"
        )
    return known[chosen.destination]


def explain(config: Settings, chosen: argparse.Namespace) -> int:
    """One person: identities, consent, segments, scores, and what was sent."""
    from letterpress.operations.explain import WIDTH, render
    from letterpress.operations.explain import explain as explained

    key = secret(config, "identity_key").encode()
    page = explained(config, chosen.customer, identity_key=key, is_safe=chosen.safe)
    console.print(render(page, width=max(WIDTH, console.width)), markup=False)
    return 0


def share(config: Settings, chosen: argparse.Namespace) -> int:
    """Counts with noise, which may leave the house."""
    from letterpress.operations import share as sharing

    report = sharing.share(config, sharing.configuration())
    console.print(sharing.render(report, sharing.spent(config)), markup=False)
    return 0


def rebuild(config: Settings, chosen: argparse.Namespace) -> int:
    """Profile, segments and features of a range of past dates, in files of their own."""
    from letterpress.warehouse.rebuild import Knowledge, instants, rebuild_range, snapshots

    try:
        dates = list(instants(_instant(chosen.first), _instant(chosen.last), chosen.every))
        knowledge = Knowledge(chosen.known_through, chosen.as_known_then)
    except ValueError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    console.print(f"Rebuilding {len(dates)} instants; nothing is published or sent", style="bold")
    done = rebuild_range(config, dates, knowledge=knowledge, run_id="rebuild", tell=tell)
    built = sum(one.is_new for one in done)
    tell(f"{built} built, {len(done) - built} were there; one folder each in {config.home}/rebuilt")
    tell(f"the features of all dates: {snapshots(config, knowledge)}")
    return 0


def _instant(text: str) -> datetime:
    """A date is its midnight in UTC; an instant needs its zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"date: expected one such as 2011-05-01 or 2011-05-01T12:00:00Z, found {text}") from None
    if found.tzinfo is None and len(text) > len("2011-05-01"):
        raise ValueError(f"date: expected an instant with its zone such as 2011-05-01T12:00:00Z, found {text}")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def publish_list(config: Settings, chosen: argparse.Namespace) -> int:
    """Both channels' versions, the current one marked."""
    from letterpress.warehouse import publish

    for channel in publish.CHANNELS:
        now = publish.current(config.published, channel)
        console.print(channel, style="bold")
        for content in publish.versions(config.published, channel):
            mark = "→" if content["version"] == now else " "
            people = content["row_counts"].get("marts.dim_customers", 0)
            made_from = f"as of {content['as_of']}  loads ≤ {content['known_through']}"
            tell(f"{mark} {content['version']}  {made_from}  {people:,} customers")
    return 0


def publish_rollback(config: Settings, chosen: argparse.Namespace) -> int:
    """Point a channel to an earlier version."""
    from letterpress.warehouse import publish

    before = publish.current(config.published, chosen.channel)
    now = publish.roll_back(config.published, chosen.channel, chosen.to)
    tell(f"{chosen.channel}: {before} → {now}; {before} is held until its inputs change or you go forward with TO=")
    return 0


def model_rollback(config: Settings, chosen: argparse.Namespace) -> int:
    """Let the version serve that served before; the next scoring uses it."""
    from ml.config import model_names
    from ml.errors import RegistryError
    from ml.registry import roll_back

    if chosen.model not in model_names():
        console.print(f"model: expected one of {', '.join(model_names())}, found {chosen.model}", style="red")
        return 2
    try:
        alias = roll_back(chosen.model, config.stores)
    except RegistryError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    tell(f"{chosen.model}: {alias.model_version[:12]} serves, {alias.replaced_version[:12]} does not; next: `make run`")
    return 0


def _start(config: Settings) -> AirflowClient:
    console.print("Starting the services", style="bold")
    os.environ.update(environment(config))
    services.start(config, tell=tell)
    base = f"http://{config.host}:{config.airflow_port}"
    client = AirflowClient(base, passwords_file(config))
    client.create_pool(WRITER_POOL, 1)
    _require_connections(client)
    client.wait_for([dag_id for stage in stages(config) for dag_id in stage.dag_ids])
    return client


def _require_connections(client: AirflowClient) -> None:
    """Every destination that is switched on has its Airflow Connection, in the environment or in Airflow."""
    from letterpress.activation.destinations import destinations, missing_connection

    for where in destinations().values():
        if f"AIRFLOW_CONN_{where.connection.upper()}" not in os.environ and not client.has_connection(where.connection):
            raise missing_connection(where)


COMMANDS = {
    "run": run,
    "ui": ui,
    "down": down,
    "next-day": next_day,
    "report": show_report,
    "explain": explain,
    "share": share,
    "rebuild": rebuild,
    "sync": sync,
    "drift": drift,
    "replay": replay,
    "model-rollback": model_rollback,
    "publish-list": publish_list,
    "publish-rollback": publish_rollback,
}

if __name__ == "__main__":
    sys.exit(main())

"""The report at the end of `make run`: what landed, what was built, who is where, what was sent. Counts only."""

import io
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from letterpress import storage
from letterpress.operations.environment import passwords_file
from letterpress.operations.line import LineResult
from letterpress.settings import Settings
from letterpress.warehouse import publish
from letterpress.warehouse.database import connect

WIDTH = 100
# Sources of real purchases, where they are configured.
LINES = (
    ("online_retail", "invoice_lines", "Online Retail"),
    ("complete_journey", "transactions", "Complete Journey"),
)


@dataclass(frozen=True)
class Snapshot:
    """What stood before a run, to tell what the run did."""

    taken_at: float
    load_sequence: int
    versions: dict[str, str | None]
    messages: dict[str, int]


def snapshot(settings: Settings) -> Snapshot:
    """The newest load, the current versions, and the ledgers' sizes."""
    from letterpress.sources import landing

    manifests = landing.manifests(settings.landing)
    return Snapshot(
        taken_at=time.time(),
        load_sequence=max((manifest.load_sequence for manifest in manifests), default=0),
        versions={channel: publish.current(settings.published, channel) for channel in publish.CHANNELS},
        messages=_messages(settings),
    )


def sent_since(settings: Settings, before: Snapshot) -> int:
    """How many messages ESPs have accepted since a snapshot."""
    return sum(_messages(settings).values()) - sum(before.messages.values())


def render(settings: Settings, *, before: Snapshot | None, line: LineResult | None) -> str:
    """The report as text. Without ``before``, what stands now instead of what a run did."""
    sections = [
        _landed(settings, before),
        *_warehouse(settings, before),
        _segments(settings),
        _models(settings),
        *_activation(settings, before),
    ]
    if line is not None:
        sections.append(_stages(line))
    buffer = io.StringIO()
    console = Console(file=buffer, width=WIDTH, highlight=False, color_system=None)
    for section in sections:
        console.print()
        if isinstance(section, Section):
            console.print(section.heading, style="bold", markup=False, soft_wrap=True)
        console.print(section)
    console.print()
    console.print(where_to_look(settings), markup=False, soft_wrap=True)
    return buffer.getvalue()


def where_to_look(settings: Settings) -> str:
    """The pages that are up, and how to get in."""
    base = f"http://{settings.host if settings.host != '127.0.0.1' else 'localhost'}"
    lines = [
        "Where to look next",
        f"  Airflow UI        {base}:{settings.airflow_port}",
        f"                    user admin, password in {passwords_file(settings)}",
        f"  Outbox (ESP)      {settings.esp}",
        f"  Demo shop         {settings.shop}  (`make next-day` advances its clock)",
    ]
    for title, page in (
        ("Data Docs", Path(settings.docs) / "data" / "site" / "index.html"),
        ("dbt docs", Path(settings.docs) / "dbt" / "index.html"),
    ):
        if page.exists():
            lines.append(f"  {title:<17} file://{page}")
    return "\n".join(lines)


class Section(Table):
    """A table under a title of any length."""

    def __init__(self, title: str, *columns: str, right: tuple[str, ...] = ()):
        super().__init__(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        self.heading = title
        for column in columns:
            self.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)


def _landed(settings: Settings, before: Snapshot | None) -> Section:
    from letterpress.sources import landing

    since = before.load_sequence if before else 0
    new: dict[tuple[str, str], int] = defaultdict(int)
    total: dict[tuple[str, str], int] = defaultdict(int)
    verdicts: dict[str, str] = {}
    for manifest in landing.manifests(settings.landing):
        for name, entity in manifest.entities.items():
            total[manifest.source, name] += entity.rows
            if manifest.load_sequence > since:
                new[manifest.source, name] += entity.rows
        verdicts[manifest.source] = manifest.audit.verdict
    title = "Landed" + (" (this run)" if before else "")
    table = Section(title, "source", "entity", "new rows", "all rows", "last audit", right=("new rows", "all rows"))
    for (source, entity), rows in sorted(total.items()):
        table.add_row(source, entity, f"{new[source, entity]:,}", f"{rows:,}", verdicts[source])
    if not total:
        table.add_row("nothing has landed yet", "", "", "", "")
    return table


def _warehouse(settings: Settings, before: Snapshot | None) -> list[Any]:
    sections: list[Any] = []
    table = Section("Warehouse", "channel", "version", "as of", "this run")
    for channel in publish.CHANNELS:
        version = publish.current(settings.published, channel)
        if version is None:
            table.add_row(channel, "none", "", "")
            continue
        content = publish.manifest(settings.published, channel, version)
        done = "" if before is None else ("published" if before.versions[channel] != version else "unchanged")
        table.add_row(channel, version, content["as_of"][:16].replace("T", " "), done)
    sections.append(table)
    built = _builds(settings)
    audits = _audits(settings)
    sections.append(
        f"dbt: {built['model']} models and {built['seed']} seeds built, {built['pass']} tests passed, "
        f"{built['warn']} warned, {built['broken']} failed (of the published versions)\n"
        f"Great Expectations: {audits['passed']} checks passed, {audits['warned']} warned, {audits['failed']} failed "
        "(all results kept)"
    )
    for source, entity, title in LINES:
        rows = _query(
            settings,
            f"""
            select disposition, row_count from marts.fct_source_reconciliation
            where source_name = '{source}' and entity_name = '{entity}' and disposition <> 'landed'
            order by 2 desc, 1
            """,
        )
        if rows:
            dispositions = Section(f"{title}: every line has a fate", "disposition", "lines", right=("lines",))
            for disposition, count in rows:
                dispositions.add_row(disposition, f"{count:,}")
            sections.append(dispositions)
    return sections


def _segments(settings: Settings) -> Any:
    rows = _query(
        settings,
        """
        select segment_kind, segment_name, count(*) from marts.dim_customer_segments
        group by all order by 1 desc, 3 desc, 2
        """,
    )
    people = _query(
        settings,
        """
        select count(*), count(*) filter (order_count > 0), count(*) filter (email is not null),
               count(*) filter (email_consent_status = 'granted' and not is_email_suppressed)
        from marts.dim_customers
        """,
    )
    if not people:
        return "Customers: none yet"
    every, buyers, reachable, consenting = people[0]
    title = (
        f"Customers: {every:,} profiled, {buyers:,} with orders, {reachable:,} with an e-mail, "
        f"{consenting:,} who consent"
    )
    table = Section(title, "segment", "kind", "customers", "", right=("customers",))
    most = max((count for *_, count in rows), default=1)
    for kind, name, count in rows:
        table.add_row(name, kind, f"{count:,}", "█" * max(1, round(30 * count / most)))
    return table


def _models(settings: Settings) -> Any:
    from ml.config import headline
    from ml.registry import aliases, metadata

    table = Section("Models", "model", "champion", "headline metrics")
    for model, alias in sorted(aliases(settings.stores).items()):
        metrics = headline(model, metadata(settings.registry, alias.model_version)["metrics"])
        shown = ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in metrics.items())
        table.add_row(model, alias.model_version[:12], shown)
    if not table.rows:
        table.add_row("no champion yet", "", "")
    return table


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _activation(settings: Settings, before: Snapshot | None) -> list[Any]:
    from letterpress.activation import ledger
    from letterpress.activation.destinations import destinations
    from letterpress.activation.plan import CHANGES

    sections: list[Any] = []
    for name in destinations():
        plans = _plans(settings, name, since=before.taken_at if before else None)
        if not plans:
            continue
        plan = plans[-1]
        table = Section(f"Sync to {name}", "what", "people", right=("people",))
        summary = ledger.summary(settings.stores, destination=name)
        moved = {action: sum(one["counts"][action] for one in plans) for action in CHANGES}
        for action, count in moved.items():
            if count:
                table.add_row(f"synced: {action}", f"{count:,}")
        written = sum(count for action, count in moved.items() if action in ("create", "update"))
        # A later plan of the same run finds what an earlier one wrote unchanged.
        unchanged = plan["counts"]["unchanged"] - (written if len(plans) > 1 else 0)
        table.add_row("unchanged", f"{max(0, unchanged):,}")
        for reason, count in sorted(plan["refused"].items(), key=lambda item: -item[1]):
            table.add_row(f"refused: {reason}", f"{count:,}")
        for reason, count in summary["rejected"].items():
            table.add_row(f"rejected by the ESP: {reason}", f"{count:,}")
        if summary["queued"]:
            table.add_row("requests still in the ESP's queue", f"{summary['queued']:,}")
        table.add_row("held by the ESP now", f"{summary['held']:,}")
        sections.append(table)
    messages = _messages(settings)
    campaigns = Section("Campaigns", "campaign", "sent now", "sent in all", right=("sent now", "sent in all"))
    for campaign, count in sorted(messages.items()):
        earlier = before.messages.get(campaign, 0) if before else count
        campaigns.add_row(campaign, f"{count - earlier:,}", f"{count:,}")
    if messages:
        sections.append(campaigns)
    return sections


def _stages(line: LineResult) -> Section:
    table = Section(f"Time: {line.seconds:.0f} s", "stage", "DAG runs", "seconds", right=("DAG runs", "seconds"))
    for stage in line.stages:
        table.add_row(stage.name, str(stage.runs), f"{stage.seconds:.1f}")
    return table


def _messages(settings: Settings) -> dict[str, int]:
    """Accepted messages of each campaign."""
    from letterpress.activation import ledger
    from letterpress.activation.destinations import destinations

    counts: dict[str, int] = defaultdict(int)
    for name in destinations():
        for campaign, states in ledger.summary(settings.stores, destination=name)["sends"].items():
            counts[campaign] += states.get("accepted", 0)
    return dict(counts)


def _plans(settings: Settings, destination: str, *, since: float | None) -> list[dict]:
    """The plans of a destination written since a moment, oldest first; the newest one alone where none is given."""
    written = (Path(settings.plans) / destination).glob("*.json")
    files = sorted(
        (file for file in written if not file.name.endswith(".result.json")), key=lambda file: file.stat().st_mtime
    )
    chosen = files[-1:] if since is None else [file for file in files if file.stat().st_mtime >= since]
    return [storage.read_json(str(file)) for file in chosen]


def _builds(settings: Settings) -> dict[str, int]:
    """What dbt did for the two published versions."""
    keys = []
    for channel in publish.CHANNELS:
        version = publish.current(settings.published, channel)
        keys += [file for file in storage.names(f"{settings.history}/builds") if f"{channel}-{version}-" in file]
    counts: dict[str, int] = defaultdict(int)
    for key in keys:
        for row in storage.read_parquet(f"{settings.history}/builds/{key}").to_pylist():
            if row["resource_type"] in ("model", "seed") and row["status"] == "success":
                counts[row["resource_type"]] += 1
            elif row["status"] in ("pass", "warn"):
                counts[row["status"]] += 1
            elif row["status"] not in ("success", "skipped"):
                counts["broken"] += 1
    return counts


def _audits(settings: Settings) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    if not storage.names(f"{settings.history}/audits"):
        return counts
    with connect(":memory:", read_only=False) as connection:
        rows = connection.execute(
            "select case when success then 'passed' when severity = 'warning' then 'warned' else 'failed' end, "
            f"count(*) "
            f"from read_parquet('{settings.history}/audits/*.parquet') group by 1"
        ).fetchall()
    return counts | dict(rows)


def _query(settings: Settings, query: str) -> list[tuple]:
    """Rows of the newest published version; none where nothing is published."""
    for channel in reversed(publish.CHANNELS):
        if publish.current(settings.published, channel) is not None:
            with (
                publish.lease(settings.published, channel) as folder,
                connect(folder / "warehouse.duckdb") as connection,
            ):
                return connection.execute(query).fetchall()
    return []

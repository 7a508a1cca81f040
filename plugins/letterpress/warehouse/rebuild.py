"""The past, rebuilt: profile, segments and features of any instant, in files of their own, with sending off.

``<home>/rebuilt/<version>/`` is laid out as a published version: ``warehouse.duckdb`` with marts and features,
``features/*.parquet``, and a manifest of what it was made from. ``<home>/rebuilt/snapshots/<knowledge>/`` holds the
rebuilt feature tables of all dates as one Parquet data set, one row per customer and snapshot date.

A rebuild reads landing, the history as it stood and the identity key, and writes nowhere else: the live warehouse,
what is published, the history, the stores and the models are out of its reach. What depends on the path (segments
entered and left, sends) has no past to be rebuilt and is not in it.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from letterpress import storage
from letterpress.settings import Settings
from letterpress.warehouse.database import file_lock
from letterpress.warehouse.inputs import Inputs, features_inputs

log = logging.getLogger(__name__)

LAYERS = ("staging", "intermediate", "marts")
SNAPSHOTS = ("customer_features",)
# Another rebuild may be in the middle of a long range.
PATIENCE = 4 * 3600.0


class NotKnownThen(LookupError):
    """Nothing, or not what was asked for, was known at that instant."""


@dataclass(frozen=True)
class Knowledge:
    """Which loads a rebuild may know: all up to now, up to a load sequence, or those known at the instant itself."""

    known_through: int | None = None
    as_known_then: bool = False

    def __post_init__(self):
        if self.as_known_then and self.known_through is not None:
            raise ValueError(
                f"knowledge: expected known_through or as_known_then, found both ({self.known_through}); next step: "
                "give one of them"
            )

    @property
    def name(self) -> str:
        """The name of its folder of snapshots."""
        if self.as_known_then:
            return "known_then"
        return "known_now" if self.known_through is None else f"known_through_{self.known_through}"


@dataclass(frozen=True)
class Rebuilt:
    """One rebuilt instant."""

    as_of: datetime
    version: str
    folder: str
    known_through: int
    customers: int
    is_new: bool
    seconds: float


class Apart(Settings):
    """The settings of a rebuild: landing, keys and the parsed project are the line's, what is built lies apart."""

    apart: str

    @property
    def warehouse(self) -> str:
        """The scratch warehouse."""
        return f"{self.apart}/warehouse"

    @property
    def published(self) -> str:
        """Where a candidate stands until it is whole; never a channel that anybody reads."""
        return f"{self.apart}/published"

    @property
    def history(self) -> str:
        """Where the log of these builds goes."""
        return f"{self.apart}/history"

    @property
    def scores(self) -> str:
        """None: a rebuild ends before the models."""
        return f"{self.apart}/scores"

    @property
    def registry(self) -> str:
        """None: a rebuild ends before the models."""
        return f"{self.apart}/registry"

    @property
    def plans(self) -> str:
        """None: a rebuild sends nothing."""
        return f"{self.apart}/plans"

    @property
    def docs(self) -> str:
        """None: a rebuild is documented by its manifest."""
        return f"{self.apart}/docs"

    @property
    def stores(self) -> str:
        """None: a rebuild neither suppresses nor sends."""
        return f"sqlite:///{self.apart}/stores.sqlite"


class _Reading(Apart):
    """The same while the inputs are listed: the line's history counts as far as it had been written then."""

    @property
    def history(self) -> str:
        """Links to what may be read."""
        return f"{self.apart}/known"


def instants(first: datetime, last: datetime, every: int = 1) -> Iterator[datetime]:
    """Instants from the first to the last, both included, ``every`` so many days. Raises ``ValueError``."""
    if every < 1:
        raise ValueError(f"every: expected 1 day or more, found {every}; next step: EVERY=7 is weekly")
    if last < first:
        raise ValueError(f"range: expected FROM ({first:%Y-%m-%d}) before TO ({last:%Y-%m-%d}); next step: swap them")
    while first <= last:
        yield first
        first += timedelta(days=every)


def rebuild_range(
    settings: Settings,
    dates: Iterator[datetime] | list[datetime],
    *,
    knowledge: Knowledge = Knowledge(),
    run_id: str,
    tell: Callable[[str], None] = log.info,
) -> list[Rebuilt]:
    """Rebuild each instant, the earliest first. What is there already is left as it is, so that a range may be
    repeated, or go on after a kill, and builds only what is missing.

    Today's knowledge is fixed once for the whole range: loads that arrive meanwhile are not in half of it.
    Raises ``NotKnownThen``, ``ValueError``, and ``BuildFailed`` with the nodes that broke.
    """
    wanted = sorted(dates)
    if not knowledge.as_known_then:
        fixed = _checked(settings, knowledge.known_through)
    known = {one: known_then(settings, one) if knowledge.as_known_then else fixed for one in wanted}
    done = []
    for number, as_of in enumerate(wanted, start=1):
        result = rebuild(settings, as_of=as_of, known_through=known[as_of], snapshots=knowledge.name, run_id=run_id)
        done.append(result)
        took = f"{result.seconds:6.1f} s" if result.is_new else "there"
        tell(
            f"{'✓' if result.is_new else '–'} {took:>8}  {number}/{len(wanted)}  as of {as_of:%Y-%m-%d %H:%M}  "
            f"loads ≤ {result.known_through}  {result.customers:,} customers  {result.version}"
        )
    return done


def rebuild(settings: Settings, *, as_of: datetime, known_through: int, snapshots: str, run_id: str) -> Rebuilt:
    """Rebuild one instant from the loads up to ``known_through``, unless it is there; its feature snapshot too."""
    began = time.monotonic()
    if as_of.tzinfo is None:
        raise ValueError(f"as_of: expected an instant with its zone such as 2011-05-01T00:00:00Z, found {as_of}")
    if as_of > datetime.now(UTC):
        raise NotKnownThen(
            f"as_of: expected an instant of the past, found {as_of.isoformat()}; next step: an earlier one"
        )
    work = Path(root(settings)) / ".work"
    apart = Apart(**settings.model_dump(), apart=str(work))
    with file_lock(work / ".lock", timeout=PATIENCE):
        inputs = _inputs(apart, as_of.astimezone(UTC), known_through)
        folder = Path(root(settings)) / inputs.version
        is_new = not (folder / "manifest.json").exists()
        if is_new:
            _build(apart, inputs, folder, run_id=run_id)
        _clear(work)
        content = storage.read_json(str(folder / "manifest.json"))
        _write_snapshots(settings, folder, content, snapshots)
    return Rebuilt(
        as_of=as_of,
        version=inputs.version,
        folder=str(folder),
        known_through=content["known_through"],
        customers=content["row_counts"]["marts.dim_customers"],
        is_new=is_new,
        seconds=time.monotonic() - began,
    )


def root(settings: Settings) -> str:
    """Where everything that was rebuilt lies."""
    return f"{settings.home}/rebuilt"


def snapshots(settings: Settings, knowledge: Knowledge, table: str = "customer_features") -> str:
    """The folder of a data set over all dates that were rebuilt with this knowledge: one Parquet file a date."""
    return storage.join(root(settings), "snapshots", knowledge.name, table)


def known_then(settings: Settings, as_of: datetime) -> int:
    """The last load sequence that was known at an instant: every load up to it had landed by then.

    A load was known from the instant it was extracted as of, and where that is the real clock (``clock`` is
    ``interval``) not before it was committed: a late run lands yesterday's interval today. On the demo shop's clock
    the commit's own time says nothing, for the shop's 2011 is committed in another year.
    Raises ``NotKnownThen`` where nothing was.
    """
    from letterpress.sources import landing

    is_real = settings.clock == "interval" and settings.as_of is None
    last, first = None, None
    for manifest in landing.manifests(settings.landing):
        known_at = max(manifest.as_of, manifest.committed_at) if is_real else manifest.as_of
        first = first or known_at
        if known_at > as_of:
            break  # a later load may build on this one: knowledge is a prefix of the sequence
        last = manifest.load_sequence
    if last is None:
        found = f"the first at {first:%Y-%m-%d %H:%M} UTC" if first else "none at all"
        raise NotKnownThen(
            f"as known at {as_of:%Y-%m-%d %H:%M} UTC: expected a load that was known by then, found {found}; "
            "next step: rebuild with today's knowledge (leave AS_KNOWN_THEN out) or with KNOWN_THROUGH=<load sequence>"
        )
    return last


def _checked(settings: Settings, known_through: int | None) -> int:
    from letterpress.sources import landing

    newest = landing.last_sequence(settings.landing)
    if newest == 0:
        raise NotKnownThen(
            f"{settings.landing}: expected an accepted load, found none; next step: `make run` lands the first"
        )
    if known_through is not None and not 1 <= known_through <= newest:
        raise NotKnownThen(
            f"known_through: expected a load sequence from 1 to {newest}, found {known_through}; next step: leave it "
            "out for today's knowledge, or take one from `make publish-list`"
        )
    return known_through or newest


def _inputs(apart: Apart, as_of: datetime, known_through: int) -> Inputs:
    """The inputs, with the line's history as it stood before this very version, where that was published once.

    What a publication writes into the history its own build had not seen; of a version that never was, the instants
    in the history decide. Logs of builds and audits are of no person and stay out.
    """
    from letterpress.warehouse import history

    reading = _Reading(**apart.model_dump())
    shutil.rmtree(reading.history, ignore_errors=True)
    inputs = features_inputs(reading, as_of=as_of, known_through=known_through)
    live = f"{apart.home}/history"
    numbers = {}
    for uri in history.files(live, "segment_sizes"):
        number, _, version = Path(uri).stem.partition("-")
        numbers.setdefault(version, number)
    own = numbers.get(inputs.version)
    for name in history.SCHEMAS:
        for uri in history.files(live, name) if name not in ("audits", "builds") else ():
            number, _, version = Path(uri).stem.partition("-")
            if own is None or version not in numbers or number < own:
                link = Path(reading.history) / name / Path(uri).name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(uri)
    return features_inputs(reading, as_of=as_of, known_through=known_through)


def _build(apart: Apart, inputs: Inputs, folder: Path, *, run_id: str) -> None:
    """Build in the scratch file, copy out what downstream may read, and let it appear whole."""
    from letterpress.warehouse import build, publish

    _clear(Path(apart.apart), keep=inputs.index)
    for layer in LAYERS:
        build.build(apart, inputs, layer, run_id=run_id)
    candidate = publish.copy_features_candidate(apart, inputs)
    shutil.copyfile(inputs.index, candidate / "inputs.parquet")
    content = publish.describe(candidate, inputs, previous=None) | {"index": str(folder / "inputs.parquet")}
    storage.write_json(str(candidate / "manifest.json"), content)
    os.chmod(candidate / "warehouse.duckdb", 0o400)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(candidate, folder)


def _clear(work: Path, keep: str | None = None) -> None:
    """Every instant starts without a warehouse; what a killed rebuild left goes. dbt's parsed project stays."""
    for file in (work / "warehouse").glob("warehouse.duckdb*"):
        file.unlink()
    for file in (work / "warehouse" / "inputs").glob("*.parquet"):
        if str(file) != keep:
            file.unlink()
    shutil.rmtree(work / "published", ignore_errors=True)
    shutil.rmtree(work / "history", ignore_errors=True)
    if keep is None:
        shutil.rmtree(work / "known", ignore_errors=True)


def _write_snapshots(settings: Settings, folder: Path, content: dict, knowledge: str) -> None:
    """The instant's rows for the data sets over all dates, with the load sequence that they know."""
    import pyarrow as pa

    as_of = datetime.fromisoformat(content["as_of"])
    for table in SNAPSHOTS:
        uri = storage.join(root(settings), "snapshots", knowledge, table, f"{as_of:%Y%m%dT%H%M%SZ}.parquet")
        rows = storage.read_parquet(str(folder / "features" / f"{table}.parquet"))
        if "known_through" not in rows.column_names:
            known = pa.repeat(pa.scalar(content["known_through"], pa.int64()), rows.num_rows)
            rows = rows.append_column("known_through", known)
        # Rows of the same knowledge are the same file: left untouched, it stays the same to whoever watches it.
        if not storage.exists(uri) or not storage.read_parquet(uri).equals(rows):
            storage.write_parquet(uri, rows)

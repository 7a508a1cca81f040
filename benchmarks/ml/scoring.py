"""A million customers, scored by every model in batches: time, processor time and the largest resident memory.

``python -m benchmarks.ml.scoring [--customers 1000000] [--only MODEL] [--output build/bench/ml_scoring.json]``. A demo
shop of a few thousand people is played and built; every model is trained on it and serves. Then each of its people is
repeated under other ids until there are as many as asked for, and each model scores them in a process of its own, with
files written as in production. Peak memory is the kernel's count for that process since it began, VmHWM: the maximum
that `wait4` tells holds the parent's own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ml.demo_shop import Shop, shop
from benchmarks.ml.rows import REPOSITORY, row, written
from ml import config

MEMORY = 4.0
"""GiB resident that scoring may take."""

SHOP = {"customers": 5_000, "days": 240}


def main(arguments: list[str] | None = None) -> int:
    """Play, train, repeat, score, print, write; 1 where a model takes more memory than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000 if os.environ.get("SIZE") == "full" else 100_000)
    parser.add_argument(
        "--only", action="append", choices=config.model_names(), help="this model alone; may be repeated"
    )
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench" / "ml_scoring.json")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.job:
        return _job(json.loads(options.job))
    small = shop(1, **SHOP)
    rows = []
    with tempfile.TemporaryDirectory(prefix="letterpress-scoring-") as work:
        features = _repeated(small, Path(work) / "features", options.customers)
        for name in options.only or config.model_names():
            said = _spawned({"model": name, "small": small.features, "features": features, "work": work,
                             "as_of": small.as_of.isoformat()})  # fmt: skip
            rows += _rows(name, options.customers, said)
    return written(rows, options.output)


def _rows(name: str, customers: int, said: dict[str, Any]) -> list[dict[str, Any]]:
    if not said["promoted"]:
        return [row(f"{name}: does not serve ({said['reason']})", 0, "", "serves", False)]
    what = f"{name}: {said['rows']:,} scores" + (f", {said['items']:,} items" if said["items"] else "")
    return [
        row(f"{what}: peak resident memory", said["peak"], "GiB", f"<= {MEMORY:g}", said["peak"] <= MEMORY),
        row(f"{name}: time", said["seconds"], "s", "reported", True),
        row(f"{name}: customers per processor second", customers / said["cpu"], "", "reported", True),
    ]


def _repeated(small: Shop, folder: Path, customers: int) -> str:
    """The shop's frames with everybody repeated under other ids, sorted as the warehouse publishes them."""
    import duckdb

    folder.mkdir(parents=True)
    with duckdb.connect(config={"memory_limit": "4GB", "temp_directory": str(folder / "spill")}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        files = sorted(Path(small.features).glob("*.parquet"))
        people = f"read_parquet('{small.features}/customer_features.parquet')"
        copies = -(-customers // connection.execute(f"select count(*) from {people}").fetchone()[0])
        for file in files:
            source = f"read_parquet('{file}')"
            query = f"select * from {source}"
            if file.stem != "products":
                columns = [name for name, *_ in connection.execute(f"describe select * from {source}").fetchall()]
                again = [
                    f"{name} || '-' || copy as {name}"
                    for name in ("order_id", "order_line_id", "session_id", "email_message_id")
                    if name in columns
                ]
                query = (
                    f"select * replace ({', '.join(['md5(customer_id || copy) as customer_id', *again])})"
                    f" from (select *, unnest(range({copies}))::varchar as copy from {source}) order by customer_id"
                )
                query = f"select * exclude (copy) from ({query})"
            connection.execute(f"copy ({query}) to '{folder / file.name}' (format parquet, compression zstd)")
    return str(folder)


def _spawned(asked: dict[str, Any]) -> dict[str, Any]:
    """Train in one process, score in another, and count what the second one took."""
    for step in ("train", "score"):
        said = Path(asked["work"]) / f"{asked['model']}-{step}.json"
        job = json.dumps(asked | {"step": step, "answer": str(said)})
        command = [sys.executable, "-m", "benchmarks.ml.scoring", "--job", job]
        paths = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"
        child = os.posix_spawn(sys.executable, command, os.environ | {"PYTHONPATH": paths})
        _, status, used = os.wait4(child, 0)
        if status:
            raise RuntimeError(f"{asked['model']}: {step} ended with {os.waitstatus_to_exitcode(status)}")
        answer = json.loads(said.read_text(encoding="utf-8"))
        if not answer["promoted"]:
            return answer
    return answer | {"cpu": used.ru_utime + used.ru_stime}


def _job(asked: dict[str, Any]) -> int:
    from ml.score import score
    from ml.train import train

    registry = f"{asked['work']}/registry"
    place = {
        "as_of": datetime.fromisoformat(asked["as_of"]),
        "registry": registry,
        "registry_url": f"sqlite:///{registry}/aliases.sqlite",
        "features_version": "benchmark",
    }
    if asked["step"] == "train":
        result = train(asked["model"], features=asked["small"], seed=1, **place)
        answer = {"promoted": result.promoted, "reason": result.reason}
    else:
        began = time.perf_counter()
        scores = {"scores": f"{asked['work']}/scores", "run_id": "benchmark", "scored_at": datetime.now(UTC)}
        result = score(asked["model"], features=asked["features"], **scores, **place)
        seconds = time.perf_counter() - began
        answer = {"promoted": True, "rows": result.rows, "items": result.items, "seconds": seconds, "peak": _peak()}
    Path(asked["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _peak() -> float:
    """GiB that this process has held resident at most."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    sys.exit(main())

"""All figures of the models in one table: ``python -m benchmarks.ml [NAME …]``; ``make bench-ml``.

Each benchmark is a module of this folder and runs in a process of its own; one without its data is left out, and said
to be. Writes ``build/bench/ml.json``. Ends with 1 if a bar is missed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.ml.rows import REPOSITORY, table

NOT_BENCHMARKS = ("__init__", "__main__", "rows", "data", "demo_shop")


def main(arguments: list[str]) -> int:
    """Run those named, or all; print one table."""
    folder = REPOSITORY / "benchmarks" / "ml"
    names = arguments or sorted(file.stem for file in folder.glob("*.py") if file.stem not in NOT_BENCHMARKS)
    paths = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"
    found, absent, broken = [], [], []
    for name in names:
        output = REPOSITORY / "build" / "bench" / f"ml_{name}.json"
        output.unlink(missing_ok=True)
        sys.stderr.write(f"{name} …\n")
        command = [sys.executable, "-m", f"benchmarks.ml.{name}", "--output", str(output)]
        code = subprocess.run(
            command, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.DEVNULL, check=False
        ).returncode
        if code == 2:
            absent.append(name)
        elif code not in (0, 1) or not output.exists():
            broken.append(name)
        else:
            found += json.loads(output.read_text(encoding="utf-8"))
    (REPOSITORY / "build" / "bench" / "ml.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(found) + "\n")
    for name in absent:
        sys.stdout.write(f"{name}: left out, its data is not here\n")
    for name in broken:
        sys.stdout.write(f"{name}: broken, see its own output: python -m benchmarks.ml.{name}\n")
    return 0 if not broken and all(one["holds"] for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

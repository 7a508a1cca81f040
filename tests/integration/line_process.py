"""One stage in a process that may be killed."""

import os
import sys
from pathlib import Path


def run_stage(given: dict[str, str], stage: str, log: str) -> None:
    """Run a stage's DAGs in the given environment; exit 0 where every run succeeded."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(given)

    from line import run_dags

    from letterpress.settings import settings
    from ml import config

    config.DEFAULT = Path(os.environ["TEST_MODELS"])
    settings.cache_clear()
    done = run_dags(stage)
    sys.stdout.flush()
    os._exit(0 if set(done.states.values()) == {"success"} else 1)

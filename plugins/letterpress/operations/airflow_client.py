"""Airflow's REST API, as far as running the line needs it."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx


class AirflowClient:
    """Trigger and follow DAG runs of one Airflow; logs in on first use and again when the token has ended."""

    def __init__(self, base_url: str, passwords: Path, *, user: str = "admin", pause_seconds: float = 0.5):
        self.base_url, self.passwords, self.user, self.pause_seconds = base_url, passwords, user, pause_seconds
        self._http: httpx.Client | None = None

    def wait_for(self, dag_ids: list[str], *, seconds: float = 120) -> None:
        """Wait until Airflow has parsed these DAGs. Raises ``LookupError`` with Airflow's own import errors."""
        deadline = time.monotonic() + seconds
        while True:
            known = {dag["dag_id"] for dag in self.get("dags", limit=200)["dags"]}
            missing = sorted(set(dag_ids) - known)
            if not missing:
                return
            if time.monotonic() > deadline:
                errors = self.get("importErrors")["import_errors"]
                shown = "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors)
                raise LookupError(
                    f"DAGs: expected {', '.join(missing)}, found them missing after {seconds:g} s; next step: mend "
                    f"the import errors\n{shown or 'Airflow reports no import error'}"
                )
            time.sleep(0.5)

    def create_pool(self, name: str, slots: int) -> None:
        """Create a pool where it is missing: without it, its tasks would wait in `scheduled` for ever."""
        self.request("POST", "pools", json={"name": name, "slots": slots}, accept=(201, 409))

    def has_connection(self, name: str) -> bool:
        """Whether Airflow's database knows a connection."""
        return self.request("GET", f"connections/{name}", accept=(200, 404)).status_code == 200

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run by hand; returns its id. The id is ours: a request whose answer was lost starts no second run."""
        run_id = f"manual__{uuid.uuid4()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self.request("POST", f"dags/{dag_id}/dagRuns", json=body, accept=(200, 409))
        return run_id

    def runs(self, dag_id: str, *, since: str) -> list[dict]:
        """A DAG's runs queued since an instant, oldest first."""
        query = {"run_after_gte": since, "limit": 200, "order_by": "run_after"}
        return self.get(f"dags/{dag_id}/dagRuns", **query)["dag_runs"]

    def queued_events(self, dag_id: str) -> int:
        """How many asset events wait to become a run of this DAG."""
        answer = self.request("GET", f"dags/{dag_id}/assets/queuedEvents", accept=(200, 404))
        return answer.json()["total_entries"] if answer.status_code == 200 else 0

    def tasks(self, dag_id: str, run_id: str) -> list[dict]:
        """The task instances of a run."""
        return self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=200)["task_instances"]

    def log(self, dag_id: str, run_id: str, task: dict) -> list[dict]:
        """A task's last log, as Airflow's structured events."""
        index = task.get("map_index", -1)
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        return self.get(path, map_index=index).get("content", [])

    def get(self, path: str, **query: Any) -> dict:
        """A JSON answer."""
        return self.request("GET", path, params=query).json()

    def request(self, method: str, path: str, *, accept: tuple[int, ...] = (200, 201), **arguments) -> httpx.Response:
        """One request that may be repeated, with a fresh token where the old one has ended.

        Where the server is busy it is tried again; what was done by a request whose answer was lost answers 409 then.
        """
        for attempt in range(6):
            try:
                answer = self._client().request(method, f"/api/v2/{path}", **arguments)
            except httpx.TransportError:
                if attempt == 5:
                    raise
                time.sleep(self.pause_seconds * 2**attempt)
                continue
            if answer.status_code == 401:
                self._http = None
                continue
            if answer.status_code >= 500 and attempt < 5:
                time.sleep(self.pause_seconds * 2**attempt)
                continue
            if answer.status_code not in accept:
                raise RuntimeError(
                    f"Airflow {method} {path}: expected {accept}, found {answer.status_code}: {answer.text[:300]}"
                )
            return answer
        raise RuntimeError(f"Airflow {method} {path}: expected to be let in, found 401; next step: `make down`")

    def _client(self) -> httpx.Client:
        if self._http is None:
            password = json.loads(self.passwords.read_text())[self.user]
            body = {"username": self.user, "password": password}
            answer = httpx.post(f"{self.base_url}/auth/token", json=body, timeout=30)
            answer.raise_for_status()
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=30)
        return self._http

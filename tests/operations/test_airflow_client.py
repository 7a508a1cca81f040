"""What Airflow is asked, where its answer is lost or it is too busy."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from letterpress.operations.airflow_client import AirflowClient


class BusyAirflow(ThreadingHTTPServer):
    """An API that does what it is asked and then answers as it is told to: a status, or None to hang up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.runs: list[str] = []
        self.answers: list[int | None] = []
        self.posts = 0


class Answer(BaseHTTPRequestHandler):
    server: BusyAirflow

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/auth/token":
            self._say(201, {"access_token": "one"})
            return
        assert self.path == "/api/v2/dags/ingest/dagRuns"
        self.server.posts += 1
        is_known = body["dag_run_id"] in self.server.runs
        if not is_known:
            self.server.runs.append(body["dag_run_id"])
        told = self.server.answers.pop(0) if self.server.answers else (409 if is_known else 200)
        if told is None:
            self.close_connection = True
            return
        self._say(told, body)

    def _say(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def airflow() -> Iterator[BusyAirflow]:
    with BusyAirflow() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(airflow: BusyAirflow, tmp_path: Path) -> AirflowClient:
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"admin": "open"}))
    return AirflowClient(f"http://127.0.0.1:{airflow.server_port}", passwords, pause_seconds=0.001)


@pytest.mark.parametrize("lost", [[500], [None], [503, None, 500]])
def test_a_run_whose_start_was_answered_by_nothing_or_an_error_is_started_once(airflow, client, lost):
    airflow.answers = list(lost)
    run_id = client.trigger("ingest", {})
    assert airflow.runs == [run_id]
    assert airflow.posts == len(lost) + 1


def test_two_starts_are_two_runs(airflow, client):
    assert {client.trigger("ingest", {}), client.trigger("ingest", {})} == set(airflow.runs)
    assert len(airflow.runs) == 2


def test_an_airflow_that_stays_busy_is_named_after_six_tries(airflow, client):
    airflow.answers = [500] * 6
    with pytest.raises(RuntimeError, match=r"POST dags/ingest/dagRuns: expected .*, found 500"):
        client.trigger("ingest", {})
    assert airflow.posts == 6


def test_what_airflow_refuses_is_not_tried_again(airflow, client):
    airflow.answers = [422]
    with pytest.raises(RuntimeError, match="found 422"):
        client.trigger("ingest", {})
    assert airflow.posts == 1

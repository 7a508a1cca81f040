"""What the stages need first: imported and made once by the fork server, so that each start is quick."""

import asyncio
import gc

import dbt.cli.main
import dlt
import great_expectations
import httpx
import line
import line_process
import matplotlib.figure
import skops.io
from airflow.models.dagrun import DagRun
from airflow.sdk.execution_time.supervisor import in_process_api_server

__all__ = ["DagRun", "dbt", "dlt", "great_expectations", "line_process", "matplotlib", "skops"]


async def ask() -> None:
    """The first request to the API that `dag.test()` asks in its own process takes seconds: it makes the routes."""
    transport = httpx.ASGITransport(app=in_process_api_server().app)
    async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
        (await client.get("/health")).raise_for_status()


asyncio.run(ask())
line.bag()
gc.freeze()  # the stages are forks: they need not look for garbage among what was imported

"""Pages in the Airflow UI: models and their cards, syncs and their plans. Each asks who is there."""

from functools import cache
from typing import Any

from airflow.sdk import BaseOperatorLink

PREFIX = "/letterpress"


class Pages:
    """The application, built at the first request: Airflow imports plugins in every process."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as ASGI wants it."""
        await application()(scope, receive, send)


class ModelCardLink(BaseOperatorLink):
    """From a training's task to the card of the version that it came to."""

    name = "Model card"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The card's page; Airflow asks at the end of the task, with the running task instance."""
        del operator
        result = ti_key.xcom_pull(task_ids=ti_key.task_id)
        return f"{PREFIX}/models/{result['version']}" if result else ""


class SyncLink(BaseOperatorLink):
    """From a sync's task to the page of its plan."""

    name = "Plan and result"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The plan's page; Airflow asks at the end of the task, with the running task instance."""
        del operator
        result = ti_key.xcom_pull(task_ids=ti_key.task_id)
        if not isinstance(result, dict) or "uri" not in result:
            return f"{PREFIX}/syncs"
        folder, file = result["uri"].rsplit("/", 2)[1:]
        return f"{PREFIX}/syncs/{folder}/{file.removesuffix('.parquet')}"


@cache
def application() -> Any:
    """Pages for people who are signed in: all models, one version; all syncs, one plan."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.responses import HTMLResponse

    from letterpress.activation import syncs
    from letterpress.activation.destinations import destinations
    from letterpress.settings import settings
    from ml import cards
    from ml.errors import RegistryError

    app = FastAPI(
        title="Letterpress", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.get("/models", response_class=HTMLResponse)
    def models() -> str:
        """Every model with its versions, the newest first."""
        return cards.index(settings().stores, link=f"{PREFIX}/models/{{}}")

    @app.get("/models/{version}", response_class=HTMLResponse)
    def model(version: str) -> str:
        """The card of a version, as it stands beside the artefact."""
        try:
            return cards.read(settings().registry, settings().stores, version)
        except RegistryError as error:
            raise HTTPException(404, str(error)) from None

    @app.get("/syncs", response_class=HTMLResponse)
    def all_syncs() -> str:
        """Every destination with its latest plans."""
        link = f"{PREFIX}/syncs/{{}}/{{}}"
        return syncs.index(settings().plans, settings().stores, list(destinations()), link=link)

    @app.get("/syncs/{destination}/{plan_id}", response_class=HTMLResponse)
    def sync(destination: str, plan_id: str) -> str:
        """One plan and what became of it."""
        try:
            return syncs.page(settings().plans, settings().stores, destination, plan_id)
        except syncs.NoSuchPlan as error:
            raise HTTPException(404, str(error)) from None

    return app

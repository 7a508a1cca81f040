"""What the shop's API does on a bad day."""

import threading

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send


class Fault(BaseModel):
    """An answer that a test plants: the next matching request gets it instead of the real one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int = Field(ge=400, le=599)
    retry_after: float | None = Field(default=None, description="seconds, for the Retry-After header")
    path: str = Field(default="/v1/", description="requests whose path begins with this")


class FaultMiddleware:
    """Answers with the planted faults, each once and in their order."""

    def __init__(self, app: ASGIApp, faults: list[Fault]):
        self.app = app
        self.faults = faults
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        fault = self._take(scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self.app(scope, receive, send)
            return
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        answer = JSONResponse({"detail": "planted by a test"}, fault.status, headers)
        await answer(scope, receive, send)

    def _take(self, path: str) -> Fault | None:
        with self._lock:
            for index, fault in enumerate(self.faults):
                if path.startswith(fault.path):
                    return self.faults.pop(index)
        return None

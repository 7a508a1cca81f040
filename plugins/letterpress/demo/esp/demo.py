"""``/demo/*``: the demo shop's way to the mailboxes of its simulated people.

It belongs to the demo and is no part of what a provider offers: no vendor shows what a mail looks like to its
reader, or takes reactions from anybody but the reader. Nothing of the line may use it. It never asks the clock,
which is the shop's: the shop calls while it moves that clock.
"""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from letterpress.demo.esp.api import MAXIMUM_BATCH, authorised
from letterpress.demo.esp.readers import REFUSALS, Reaction

router = APIRouter(prefix="/demo", dependencies=[Depends(authorised)])


class ReactionsBody(BaseModel):
    """A batch of reactions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reactions: list[Reaction] = Field(max_length=MAXIMUM_BATCH)


@router.get("/mail")
def list_mail(
    request: Request,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    size: Annotated[int, Query(ge=1, le=MAXIMUM_BATCH)] = MAXIMUM_BATCH,
) -> Response:
    """Accepted messages after a ``sequence``, in its order; the last page is an empty one."""
    return _json({"data": request.app.state.readers.mail(after=after, size=size)})


@router.post("/reactions")
def add_reactions(request: Request, body: ReactionsBody) -> Response:
    """Record what readers did, all in one transaction; a row that cannot be is rejected alone, with a code."""
    return _json(
        {
            "results": [
                {"status": "accepted", "error": None}
                if code is None
                else {"status": "rejected", "error": {"code": code, "message": REFUSALS[code]}}
                for code in request.app.state.readers.react(body.reactions)
            ]
        }
    )


def _json(content: dict) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")

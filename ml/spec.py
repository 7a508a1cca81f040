"""The one small interface of a model: what it reads, and how it is trained, evaluated, applied and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pandas as pd

Frames: TypeAlias = "Mapping[str, pd.DataFrame]"
Metrics: TypeAlias = dict[str, float | int | str | bool | None]


class ModelSettings(BaseModel):
    """Base of every model's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Trained:
    """A fitted model and what was measured while fitting it; metrics are plain JSON values."""

    fitted: Any
    metrics: Metrics


@dataclass(frozen=True)
class ModelSpec:
    """A model as the rest of ``ml`` sees it.

    * ``features``: frame name → the columns that the model cannot do without; ``models.yml`` may add more.
      Frames arrive cut at ``as_of``, sorted by their keys, and never hold a name or an e-mail.
    * ``train(frames, as_of, settings, seed)`` → :class:`Trained`; equal arguments give an equal model.
    * ``evaluate(fitted, frames, as_of)`` → metrics of a version that exists, on today's frames.
    * ``score(fitted, frames, as_of)`` → one row per customer: ``customer_id``, ``score``, ``tier``.
    * ``dump(fitted)`` → file name → bytes, equal for equal models, without personal data; ``load`` is its inverse.
    """

    name: str
    features: Mapping[str, tuple[str, ...]]
    settings: type[ModelSettings]
    train: Callable[[Frames, datetime, Any, int], Trained]
    evaluate: Callable[[Any, Frames, datetime], Metrics]
    score: Callable[[Any, Frames, datetime], pd.DataFrame]
    dump: Callable[[Any], dict[str, bytes]]
    load: Callable[[Mapping[str, bytes]], Any]

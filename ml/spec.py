"""The one small interface of a model: what it reads, and how it is trained, evaluated, applied and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
class Curve:
    """A plot of a model card as data: lines by name, each a list of (x, y); ``diagonal`` draws y = x beside them."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, list[tuple[float, float]]]
    diagonal: bool = False


@dataclass(frozen=True)
class Trained:
    """A fitted model and what was measured while fitting it.

    * ``metrics``: plain JSON values; a baseline's stands beside the model's own as ``<metric>_<baseline>``.
    * ``holdout``: what a fit that has not seen these outcomes said of them, one row each: ``customer_id``,
      ``truth``, ``prediction`` and whatever ``ModelSpec.quality`` reads besides; None where nothing was measured.
    * ``curves``: plots for the model card, by name.
    """

    fitted: Any
    metrics: Metrics
    holdout: pd.DataFrame | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """What a model says of customers.

    * ``rows``: one row per customer: ``customer_id``, ``score`` (finite), ``tier`` (unless ``ModelSpec.tiers`` gives
      it), ``reasons`` (up to three short phrases, joined by "; ", in words that a marketer may read; optional), and
      any further columns, which become the score's details under their names.
    * ``items``: ranked lists, for models that have them: ``customer_id``, ``rank`` (from 1), ``item_id``, ``score``,
      ``reason``; the customer ``ANONYMOUS`` stands for everybody who is not known.
    """

    rows: pd.DataFrame
    items: pd.DataFrame | None = None


ANONYMOUS = "(anonymous)"
"""Stands in ``Scores.items`` for a visitor of whom nothing is known."""


@dataclass(frozen=True)
class Tiers:
    """Names for the best shares of all scored customers, best first; everybody else is ``rest``."""

    shares: Mapping[str, float]
    rest: str


@dataclass(frozen=True)
class ModelSpec:
    """A model as the rest of ``ml`` sees it.

    * ``features``: frame name → the columns that the model cannot do without; ``models.yml`` may add more.
      Frames arrive cut at ``as_of``, sorted by their keys, and never hold a name or an e-mail.
    * ``train(frames, as_of, settings, seed)`` → :class:`Trained`; equal arguments give an equal model.
    * ``evaluate(fitted, frames, as_of)`` → metrics of a version that exists, on today's frames.
    * ``score(fitted, frames, as_of)`` → :class:`Scores`. Frames hold some of the customers, each with all of
      their rows; what is said of a customer does not depend on who else is there.
    * ``dump(fitted)`` → file name → bytes, equal for equal models, without personal data; ``load`` is its inverse.

    What a model may have besides:

    * ``holdout(fitted, frames, as_of)`` → the frame of ``Trained.holdout`` for a version that exists, on the same
      outcomes; with ``quality(holdout)`` → one number, more is better, a challenger is compared with the champion
      by a bootstrap over customers.
    * ``tiers(fitted)`` → :class:`Tiers`, given out over everybody at once.
    * ``inputs(fitted, frames, as_of)`` → one row per customer, ``customer_id`` and the model's numeric or text
      inputs: what drift is watched on.
    * ``outcomes(fitted, frames, scored_as_of, as_of)`` → ``customer_id``, ``truth``: what became of customers who
      were scored as of an earlier instant, None while that is not known yet.
    * ``importance(fitted)`` → input → share of the model's decisions, adding up to 1.
    * ``continues``: ``train`` takes the serving version as a fifth argument (None at first) and goes on from it,
      as clusters do that keep their names; going on from itself, a version comes to itself.
    """

    name: str
    features: Mapping[str, tuple[str, ...]]
    settings: type[ModelSettings]
    train: Callable[..., Trained]
    evaluate: Callable[[Any, Frames, datetime], Metrics]
    score: Callable[[Any, Frames, datetime], Scores]
    dump: Callable[[Any], dict[str, bytes]]
    load: Callable[[Mapping[str, bytes]], Any]
    holdout: Callable[[Any, Frames, datetime], pd.DataFrame | None] | None = None
    quality: Callable[[pd.DataFrame], float | None] | None = None
    tiers: Callable[[Any], Tiers] | None = None
    inputs: Callable[[Any, Frames, datetime], pd.DataFrame] | None = None
    outcomes: Callable[[Any, Frames, datetime, datetime], pd.DataFrame | None] | None = None
    importance: Callable[[Any], Mapping[str, float]] | None = None
    continues: bool = False

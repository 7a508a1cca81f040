"""Subject lines: which text is opened more, and which style of it works for whom.

A campaign's texts are compared with each other, so that what the campaign itself does cancels out
(:mod:`ml.subject_lines.pairwise`); a text is what it says, by words and characters, and the styles that readers notice.
It is a model of texts: a campaign asks :func:`rank_subjects` for the order of its drafts and the prior of each,
:func:`ml.subject_lines.thompson.allocation` for the shares of the next mails once the first ones are out,
:func:`ml.subject_lines.thompson.assign` for who gets which, and :func:`rank_preheaders` for what stands beside it.

What it says of customers is their taste: the style that each opens most, their own opens drawn to everybody's
(:mod:`ml.subject_lines.tastes`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd

from ml.opens import opened_since
from ml.spec import Frames, Metrics, ModelSpec, Scores, Trained
from ml.subject_lines import text
from ml.subject_lines.fitted import (
    Settings,
    SubjectLines,
    dump,
    fit,
    load,
    rank_preheaders,
    rank_subjects,
    readers,
)
from ml.subject_lines.variants import mails, variants

__all__ = ["MODEL", "Settings", "rank_preheaders", "rank_subjects"]

PLAIN = "plain"
_NOTICEABLE = 1.05
"""A taste is the reader's own where it moves opens by this much from everybody's."""


def train(frames: Frames, as_of: datetime, settings: Settings, seed: int) -> Trained:
    """Fit on all mail up to ``as_of``; measured by a fit without the last ``holdout_days`` on the mail in them.

    Where own tastes then told less than everybody's, none are used. There is no chance in it, so ``seed`` changes
    nothing.
    """
    del seed
    fitted, metrics = fit(mails(frames, pd.Timestamp(as_of)), settings)
    at = pd.Timestamp(as_of) - pd.Timedelta(days=settings.holdout_days)
    earlier, _ = fit(mails(frames, at), settings)
    rows = holdout(earlier, frames, as_of)
    if rows is not None and rows["gain"].sum() < rows["gain_everyone"].sum():
        fitted, earlier = replace(fitted, taste_variance=0.0), replace(earlier, taste_variance=0.0)
        rows = holdout(earlier, frames, as_of)
    effects = np.exp(fitted.style_effects)
    metrics |= {f"effect_{name}": float(effects[index]) for index, name in enumerate(text.STYLES)}
    metrics |= {"taste_spread": float(np.sqrt(fitted.taste_variance)), "prior_opens": fitted.prior_opens}
    return Trained(fitted, {**metrics, **_measured(rows)}, rows)


def evaluate(fitted: SubjectLines, frames: Frames, as_of: datetime) -> Metrics:
    """How well a version tells which texts were opened in the last ``holdout_days``."""
    return _measured(holdout(fitted, frames, as_of))


def holdout(fitted: SubjectLines, frames: Frames, as_of: datetime) -> pd.DataFrame | None:
    """One row per customer with compared mail in the last ``holdout_days``.

    ``truth``: mails opened; ``prediction``: expected by text and taste; ``gain``: the summed log-likelihood of which of
    a campaign's texts the opened mails had, over that of a choice by lot; ``gain_everyone`` without own tastes.
    """
    at = pd.Timestamp(as_of) - pd.Timedelta(days=fitted.settings.holdout_days)
    rows = mails(frames, pd.Timestamp(as_of))
    rows = rows[rows["delivered_at"] > at]
    table = variants(rows, fitted.settings.minimum_recipients)
    if table.empty:
        return None
    known = readers(fitted, mails(frames, at, fitted.templates))
    place = pd.Index(known.customer_id).get_indexer(rows["customer_id"])
    ones = np.ones((1, len(text.STYLES)))
    taste = np.log(np.vstack([known.affinity, ones]))[place]  # -1: nothing known
    own = np.append(known.own_rate, 1.0)[place]
    parts = []
    for campaign, tried in table.groupby("campaign_id", sort=False):
        chosen = np.flatnonzero((rows["campaign_id"] == campaign) & rows["subject"].isin(tried["subject"]))
        parts.append(_told(fitted, tried, rows.iloc[chosen], taste[chosen], own[chosen]))
    told = pd.concat(parts).groupby("customer_id", as_index=False).sum()
    return told.sort_values("customer_id", kind="stable").reset_index(drop=True)


def quality(rows: pd.DataFrame) -> float | None:
    """What is gained over a choice by lot, in nats an opened mail; 0 is chance."""
    opened = rows["truth"].sum()
    return None if opened == 0 else float(rows["gain"].sum() / opened)


def score(fitted: SubjectLines, frames: Frames, as_of: datetime) -> Scores:
    """One row per customer: ``score`` is the chance that they open a mail in the style that suits them best.

    Details: ``style`` (a key of :data:`ml.subject_lines.text.STYLES` or ``plain``) and ``lift``, how many times a plain
    subject that style is opened. ``tier`` is ``personal`` where the reader's own opens move the lift by a twentieth
    from everybody's, else ``everyone``.
    """
    customers = np.sort(frames["customer_features"]["customer_id"].to_numpy(dtype=object))
    known = readers(fitted, mails(frames, pd.Timestamp(as_of), fitted.templates))
    place = pd.Index(known.customer_id).get_indexer(customers)
    affinity = np.vstack([known.affinity, np.ones((1, len(text.STYLES)))])[place]
    own = np.append(known.own_rate, 1.0)[place]
    lifts = np.column_stack([np.ones(len(customers)), np.exp(fitted.style_effects) * affinity])
    best = np.round(lifts, 9).argmax(axis=1)
    lift = lifts[np.arange(len(customers)), best]
    of_style = np.column_stack([np.ones(len(customers)), affinity])[np.arange(len(customers)), best]
    is_own = np.abs(np.log(of_style)) >= np.log(_NOTICEABLE)
    names = np.array([PLAIN, *text.STYLES], dtype=object)[best]
    rows = pd.DataFrame(
        {
            "customer_id": customers,
            "score": np.round(np.clip(fitted.open_rate / fitted.style_mean * own * lift, 0.0, 0.99), 6),
            "tier": np.where(is_own, "personal", "everyone"),
            "reasons": [_reason(name, bool(mine)) for name, mine in zip(names, is_own, strict=True)],
            "style": names,
            "lift": np.round(lift, 6),
        }
    )
    return Scores(rows)


def inputs(fitted: SubjectLines, frames: Frames, as_of: datetime) -> pd.DataFrame:
    """What drift is watched on: the mail of each customer, and how much of it was opened."""
    known = readers(fitted, mails(frames, pd.Timestamp(as_of), fitted.templates))
    rows = pd.DataFrame({"customer_id": np.sort(frames["customer_features"]["customer_id"].to_numpy(dtype=object))})
    counts = pd.DataFrame({"customer_id": known.customer_id, "deliveries": known.mails, "opened": known.opened})
    return rows.merge(counts, how="left", on="customer_id").fillna({"deliveries": 0.0, "opened": 0.0})


def outcomes(fitted: SubjectLines, frames: Frames, scored_as_of: datetime, as_of: datetime) -> pd.DataFrame | None:
    """The share of each customer's mail since they were scored that was opened, once ``holdout_days`` have passed."""
    return opened_since(frames, scored_as_of, as_of, fitted.settings.holdout_days)


def importance(fitted: SubjectLines) -> dict[str, float]:
    """The share of each style and shape, of all words and of all characters in what sets texts apart."""
    return dict(fitted.importance)


def _told(
    fitted: SubjectLines, tried: pd.DataFrame, rows: pd.DataFrame, taste: np.ndarray, own: np.ndarray
) -> pd.DataFrame:
    """For each mail of a campaign: whether it was opened, what was expected, and the gains where it was."""
    subjects = tried["subject"].tolist()
    code = pd.Index(subjects).get_indexer(rows["subject"])
    sent = tried["delivered"].to_numpy(dtype=float)
    everybody = np.broadcast_to(fitted.values(subjects), (len(rows), len(subjects)))
    opened = rows["opened"].to_numpy(dtype=float)
    lifts = {"gain_everyone": everybody, "gain": everybody + taste @ text.styles(subjects).T}
    each = np.arange(len(rows))
    gains, expected = {}, opened
    for name, logs in lifts.items():
        likely = np.exp(logs) * sent
        gains[name] = opened * np.log(np.exp(logs[each, code]) * sent.sum() / likely.sum(axis=1))
        expected = fitted.open_rate * own * np.exp(logs[each, code]) * sent.sum() / likely.sum(axis=1)
    return pd.DataFrame({"customer_id": rows["customer_id"], "truth": opened, "prediction": expected, **gains})


def _measured(rows: pd.DataFrame | None) -> Metrics:
    opened = 0.0 if rows is None else float(rows["truth"].sum())
    if rows is None or opened == 0:
        return {"holdout_gain": None, "holdout_gain_everyone": None, "holdout_opened": 0}
    return {
        "holdout_gain": quality(rows),
        "holdout_gain_everyone": float(rows["gain_everyone"].sum() / opened),
        "holdout_opened": int(opened),
    }


def _reason(style: str, is_own: bool) -> str:
    if style == PLAIN:
        return "no style of subject does better than a plain one"
    who = "opens more when" if is_own else "most open more when"
    return f"{who} the subject has {text.STYLES[style]}"


MODEL = ModelSpec(
    name="subject_lines",
    features={
        "customer_features": ("customer_id",),
        "customer_emails": (
            *("campaign_id", "email_message_id", "subject", "sent_at"),
            *("delivered_at", "opened_at", "clicked_at"),
        ),
    },
    settings=Settings,
    train=train,
    evaluate=evaluate,
    score=score,
    dump=dump,
    load=load,
    holdout=holdout,
    quality=quality,
    inputs=inputs,
    outcomes=outcomes,
    importance=importance,
)

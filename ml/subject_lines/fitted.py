"""A fitted model of subject lines: how it is estimated from mail, kept, and what it says of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.pipeline import FeatureUnion

from ml import files, skops_files
from ml.send_time.shrinkage import gamma_strength
from ml.spec import Metrics, ModelSettings
from ml.subject_lines import pairwise, preheader, tastes, text
from ml.subject_lines.pairwise import HeldOut
from ml.subject_lines.variants import personal_templates, variants


class Settings(ModelSettings):
    """Settings of the model."""

    minimum_recipients: int = Field(default=20, ge=2, description="a text that fewer customers got is left out")
    minimum_campaigns: int = Field(
        default=6, ge=2, description="with fewer campaigns that compare texts, all are alike"
    )
    minimum_opens: int = Field(default=200, ge=1, description="of compared texts; with fewer, all are alike")
    holdout_days: int = Field(default=28, gt=0, description="the end of the history that is predicted to measure it")


@dataclass(frozen=True)
class SubjectLines:
    """The pairwise model of texts, and how readers' tastes spread; nothing of single customers.

    ``weights`` is None where texts cannot be told apart: then all are alike.
    """

    union: FeatureUnion | None
    weights: np.ndarray | None
    importance: Mapping[str, float]
    style_effects: np.ndarray  # log-opens of everybody, by text.STYLES
    style_mean: float  # of the factors that styles put on the mails that it was fitted on
    templates: tuple[str, ...]  # subjects with a word for each reader
    taste_variance: float  # of readers' log odds ratios around everybody's
    prior_opens: float
    open_rate: float
    open_strength: float
    rates: Mapping[str, float]  # of each campaign
    settings: Settings

    def values(self, subjects: Sequence[str]) -> np.ndarray:
        """Log-opens of each subject, up to a constant."""
        if self.weights is None or self.union is None or not len(subjects):
            return np.zeros(len(subjects))
        return text.features(self.union, subjects) @ self.weights


def fit(rows: pd.DataFrame, settings: Settings) -> tuple[SubjectLines, Metrics]:
    """Fit on mails (:func:`ml.subject_lines.variants.mails`), and say how well unseen campaigns were told."""
    table = variants(rows, settings.minimum_recipients)
    campaigns, opens = int(table["campaign_id"].nunique()), int(table["opened"].sum())
    metrics: Metrics = {"mails": len(rows), "campaigns": campaigns, "variants": len(table), "fallback": None}
    tested, strength = None, None
    if campaigns < settings.minimum_campaigns or opens < settings.minimum_opens:
        metrics["fallback"] = (
            f"all subjects alike: {campaigns} campaigns compare texts with {opens} opens,"
            f" {settings.minimum_campaigns} and {settings.minimum_opens} are needed"
        )
    else:
        tested = pairwise.held_out(table)
        strength = tested.best()
        if strength is None:
            metrics["fallback"] = "all subjects alike: on campaigns that it had not seen, no model was above chance"
    metrics |= _figures(tested, strength)
    rates, overall = _rates(rows)
    union = weights = None
    importance: dict[str, float] = {}
    effects, prior = np.zeros(len(text.STYLES)), pairwise.MOST_PRIOR_OPENS
    if tested is not None and strength is not None:
        compared = pairwise.pairs(table)
        subjects = table["subject"].to_numpy(dtype=object)
        union = text.words_and_characters(subjects)
        inputs = text.features(union, subjects)
        weights = _digits(pairwise.fit(inputs, compared, strength))
        importance = _importance(union, inputs, weights)
        effects = _digits(pairwise.fit(text.styles(subjects), compared, strength))
        prior = pairwise.prior_opens(tested.differences[strength], tested.compared)
    fitted = SubjectLines(
        union=union,
        weights=weights,
        importance=importance,
        style_effects=effects,
        style_mean=_style_mean(rows, effects),
        templates=personal_templates(rows, settings.minimum_recipients),
        taste_variance=0.0,
        prior_opens=prior,
        open_rate=overall,
        open_strength=1.0,
        rates=rates,
        settings=settings,
    )
    return _with_readers(fitted, rows), metrics


@dataclass(frozen=True)
class Readers:
    """What is known of readers: customer ids, how much more they open, and their tastes (readers, styles)."""

    customer_id: np.ndarray
    mails: np.ndarray
    opened: np.ndarray
    own_rate: np.ndarray
    affinity: np.ndarray


def readers(fitted: SubjectLines, rows: pd.DataFrame) -> Readers:
    """Everybody in ``rows``, by customer id."""
    customer_id, counts = _counts(fitted, rows)
    mails, opened, expected, styled, share = counts
    own = (opened + fitted.open_strength) / (expected + fitted.open_strength)
    odds = tastes.log_odds(styled, opened, mails, share, fitted.taste_variance)
    ignored = 1.0 - np.clip(fitted.open_rate * own, 0.0, 0.95)[:, None]
    return Readers(customer_id, mails, opened, own, np.exp(odds * ignored))  # a ratio of rates from one of odds


def rank_subjects(fitted: SubjectLines, subjects: Sequence[str]) -> pd.DataFrame:
    """Subjects, best first: subject, rank, score, open_rate, prior_opened, prior_ignored, reasons.

    ``score`` is how many times the mean of these subjects each is expected to be opened; ``open_rate`` that of an
    average reader. The priors are the two parameters of a Beta distribution of the open rate, for
    :func:`ml.subject_lines.thompson.allocation`. Templates may have placeholders such as ``{name}``.
    """
    value = fitted.values(subjects)
    ratio = np.exp(value - value.mean()) if len(value) else value
    rate = np.clip(fitted.open_rate * ratio, 0.001, 0.95)
    rows = pd.DataFrame({"subject": list(subjects), "score": np.round(ratio, 6), "open_rate": np.round(rate, 6)})
    rows["prior_opened"] = fitted.prior_opens
    rows["prior_ignored"] = np.round(fitted.prior_opens * (1 - rate) / rate, 6)
    rows["reasons"] = _reasons(fitted, subjects)
    rows = rows.sort_values(["score", "subject"], ascending=[False, True], kind="stable").reset_index(drop=True)
    rows.insert(1, "rank", np.arange(1, len(rows) + 1))
    return rows


def rank_preheaders(fitted: SubjectLines, subject: str, candidates: Sequence[str], topic: str = "") -> pd.DataFrame:
    """Preheaders for a subject, best first (:func:`ml.subject_lines.preheader.rank`); the topic in a few words."""
    texts = [subject, *candidates]
    if fitted.weights is None or fitted.union is None:
        return preheader.rank(np.zeros(len(text.STYLES)), text.styles(texts), subject, candidates, topic)
    return preheader.rank(fitted.weights, text.features(fitted.union, texts), subject, candidates, topic)


def dump(fitted: SubjectLines) -> dict[str, bytes]:
    """The vocabulary as a skops file, where there is one, and all numbers as JSON."""
    content = {
        "weights": None if fitted.weights is None else fitted.weights.tolist(),
        "importance": dict(fitted.importance),
        "style_effects": fitted.style_effects.tolist(),
        **{
            name: getattr(fitted, name)
            for name in ("prior_opens", "open_rate", "open_strength", "taste_variance", "style_mean")
        },
        "rates": dict(fitted.rates),
        "templates": list(fitted.templates),
        "settings": fitted.settings.model_dump(mode="json"),
    }
    kept = {"subject_lines.json": files.json_bytes(content)}
    if fitted.union is not None:
        kept["words.skops"] = skops_files.dump(text.portable(fitted.union))
    return kept


def load(artefact: Mapping[str, bytes]) -> SubjectLines:
    """The inverse of :func:`dump`."""
    content = json.loads(artefact["subject_lines.json"])
    return SubjectLines(
        union=skops_files.load(artefact["words.skops"]) if "words.skops" in artefact else None,
        weights=None if content["weights"] is None else np.array(content["weights"]),
        style_effects=np.array(content["style_effects"]),
        templates=tuple(content["templates"]),
        settings=Settings.model_validate(content["settings"]),
        **{
            name: content[name]
            for name in (
                "importance",
                "prior_opens",
                "open_rate",
                "open_strength",
                "taste_variance",
                "style_mean",
                "rates",
            )
        },
    )


def _with_readers(fitted: SubjectLines, rows: pd.DataFrame) -> SubjectLines:
    _, (mails, opened, expected, styled, share) = _counts(fitted, rows)
    return replace(
        fitted,
        open_strength=float(_digits(np.array([gamma_strength(opened, expected)]))[0]),
        taste_variance=float(_digits(np.array([tastes.spread(styled, opened, mails, share)]))[0]),
        prior_opens=float(_digits(np.array([fitted.prior_opens]))[0]),
    )


def _counts(fitted: SubjectLines, rows: pd.DataFrame) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """By reader: mails, opens, expected opens, opens by style, and everybody's share of opens by style."""
    person, names = pd.factorize(rows["customer_id"], sort=True)
    code, subjects = pd.factorize(rows["subject"], sort=True)
    flags = text.styles(list(subjects)) if len(subjects) else np.zeros((0, len(text.STYLES)))
    worth = np.exp(flags @ fitted.style_effects) / fitted.style_mean
    rate = rows["campaign_id"].map(fitted.rates).fillna(fitted.open_rate).to_numpy(dtype=float)
    expected = rate * worth[code]
    opened = rows["opened"].to_numpy(dtype=float)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(person, values, minlength=len(names))

    sums = total(expected)
    styled = np.column_stack([total(opened * flags[code, style]) for style in range(len(text.STYLES))])
    share = np.column_stack([total(expected * flags[code, style]) for style in range(len(text.STYLES))])
    share = share / np.where(sums > 0, sums, 1.0)[:, None]
    return np.asarray(names, dtype=object), (total(np.ones(len(rows))), total(opened), sums, styled, share)


def _style_mean(rows: pd.DataFrame, effects: np.ndarray) -> float:
    counts = rows["subject"].value_counts().sort_index()
    if counts.empty:
        return 1.0
    return float(f"{np.average(np.exp(text.styles(list(counts.index)) @ effects), weights=counts.to_numpy()):.10g}")


def _rates(rows: pd.DataFrame, prior_mails: float = 50.0) -> tuple[dict[str, float], float]:
    if rows.empty:
        return {}, 0.2
    overall = (float(rows["opened"].sum()) + 1.0) / (len(rows) + 2.0)
    grouped = rows.groupby("campaign_id")["opened"].agg(["sum", "size"])
    rates = (grouped["sum"] + prior_mails * overall) / (grouped["size"] + prior_mails)
    return {str(name): float(f"{rate:.10g}") for name, rate in rates.items()}, float(f"{overall:.10g}")


def _figures(tested: HeldOut | None, strength: float | None) -> Metrics:
    names = ("pairwise_log_loss", "pairwise_log_loss_history", "pairwise_accuracy", "pairwise_accuracy_history")
    if tested is None:
        return {"pairs": 0, "strength": None} | dict.fromkeys(names)
    compared = tested.compared
    model = np.zeros(len(compared.first)) if strength is None else tested.differences[strength]
    return {
        "pairs": len(compared.first),
        "strength": strength,
        "pairwise_log_loss": pairwise.log_loss(model, compared),
        "pairwise_log_loss_history": pairwise.log_loss(tested.history, compared),
        "pairwise_log_loss_chance": float(np.log(2)),
        "pairwise_accuracy": pairwise.accuracy(model, compared),
        "pairwise_accuracy_history": pairwise.accuracy(tested.history, compared),
    }


def _importance(union: FeatureUnion, inputs: object, weights: np.ndarray) -> dict[str, float]:
    """Shares of the spread of all texts' values: each style and shape, all words, all characters."""
    dense = np.asarray(inputs.todense())
    spread = np.abs(weights) * dense.std(axis=0)
    total = float(spread.sum())
    if total == 0:
        return {}
    given = [*text.STYLES, *text.SHAPE]
    kinds = [*given, *(str(name).partition("__")[0] for name in union.get_feature_names_out())]
    shares = pd.Series(spread / total).groupby(np.array(kinds, dtype=object)).sum()
    return {str(name): round(float(share), 6) for name, share in shares.items()}


def _reasons(fitted: SubjectLines, subjects: Sequence[str]) -> list[str]:
    """The two or three things in each text that move it most against the mean of these texts."""
    if fitted.weights is None or fitted.union is None or not len(subjects):
        return ["nothing is known of what readers open"] * len(subjects)
    names = text.names(fitted.union)
    dense = np.asarray(text.features(fitted.union, subjects).todense())
    moved = fitted.weights * (dense - dense.mean(axis=0))
    result = []
    for row in range(len(subjects)):
        there = [
            index for index in np.argsort(-np.abs(moved[row]), kind="stable") if names[index] and dense[row, index]
        ]
        told = [index for index in there if abs(moved[row, index]) >= 0.005][:3]
        words = [f"{names[index]} ({np.expm1(moved[row, index]):+.0%} opens)" for index in told]
        result.append("; ".join(words) or "nothing that sets it apart")
    return result


def _digits(values: np.ndarray) -> np.ndarray:
    """Ten digits: more would depend on the machine."""
    return np.array([float(f"{value:.10g}") for value in values.ravel()]).reshape(values.shape)

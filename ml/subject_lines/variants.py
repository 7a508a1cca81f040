"""Variants: the subject lines that a campaign has tried, with what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import pandas as pd

from ml.opens import MATURE
from ml.spec import Frames

PERSONAL = "{personal}"
_FILLINGS = 5
"""So many texts of one campaign that differ in one word are one text with a word for each reader."""


def mails(frames: Frames, until: pd.Timestamp, templates: Collection[str] | None = None) -> pd.DataFrame:
    """Mails long enough before an instant: customer_id, campaign_id, subject, delivered_at, opened (0 or 1).

    ``subject`` is the template: a word that each reader has for themselves, such as a name, is ``{personal}``, and
    so are all placeholders. Which words those are is told by the other mails of the campaign, or, where ``templates``
    are given, by them alone: so a few customers' mail reads as it does among everybody's. Rows come by customer and
    instant.
    """
    told = frames["customer_emails"]
    told = told[(told["delivered_at"] <= until - MATURE) & told["campaign_id"].notna()]
    told = told[told["subject"].notna() & (told["subject"].astype(str).str.strip() != "")]
    told = told.sort_values(["customer_id", "delivered_at", "email_message_id"], kind="stable")
    read = told["opened_at"].where(told["opened_at"].notna(), told["clicked_at"])
    rows = told[["customer_id", "campaign_id", "delivered_at"]].reset_index(drop=True)
    rows["campaign_id"] = rows["campaign_id"].astype(str)
    pairs = pd.DataFrame({"campaign_id": rows["campaign_id"], "subject": told["subject"].astype(str).to_numpy()})
    rows["subject"] = _templates(pairs, templates)
    rows["opened"] = (read <= until).to_numpy().astype(np.int64)
    return rows


def personal_templates(rows: pd.DataFrame, minimum_recipients: int) -> tuple[str, ...]:
    """The templates with a word for each reader that so many customers got, for :func:`mails` of a few customers."""
    people = rows.groupby("subject")["customer_id"].nunique()
    return tuple(sorted(text for text, count in people.items() if PERSONAL in text and count >= minimum_recipients))


def variants(rows: pd.DataFrame, minimum_recipients: int) -> pd.DataFrame:
    """One row per campaign and subject: campaign_id, subject, started_at, delivered, opened; campaigns in time.

    A text that fewer customers than ``minimum_recipients`` got is left out: it says little, and it may say who they
    are. So is a campaign with one text, which has nothing to be compared with.
    """
    rows = rows.assign(started_at=rows.groupby("campaign_id")["delivered_at"].transform("min"))
    table = (
        rows.groupby(["campaign_id", "subject"])
        .agg(
            delivered=("opened", "size"),
            opened=("opened", "sum"),
            people=("customer_id", "nunique"),
            started_at=("started_at", "first"),
        )
        .reset_index()
    )
    table = table[table["people"] >= minimum_recipients].drop(columns="people")
    several = table.groupby("campaign_id")["subject"].transform("size") > 1
    return table[several].sort_values(["started_at", "campaign_id", "subject"], kind="stable").reset_index(drop=True)


def _templates(pairs: pd.DataFrame, known: Collection[str] | None) -> np.ndarray:
    """The template of every subject, by the other texts of its campaign or by known templates."""
    found: dict[tuple[str, str], str] = {}
    for campaign, texts in pairs.drop_duplicates().groupby("campaign_id")["subject"]:
        split = {text: [_word(word) for word in text.split()] for text in sorted(texts)}
        often = Counter(" ".join(shape) for words in split.values() for shape in _shapes(words))
        if known is not None:
            often = Counter(dict.fromkeys(known, _FILLINGS))
        for text, words in split.items():
            shapes = [shape for shape in map(" ".join, _shapes(words)) if often[shape] >= _FILLINGS]
            found[campaign, text] = max(shapes, key=lambda shape: (often[shape], shape), default=" ".join(words))
    keys = zip(pairs["campaign_id"], pairs["subject"], strict=True)
    return np.array([found[key] for key in keys], dtype=object)


def _word(word: str) -> str:
    """A word, or what stands for a placeholder: ``{name},`` becomes ``{personal},``."""
    start, end = word.find("{"), word.rfind("}")
    return word[:start] + PERSONAL + word[end + 1 :] if 0 <= start < end else word


def _shapes(words: list[str]) -> list[tuple[str, ...]]:
    """The text with each word in turn left open; its punctuation stays."""
    shapes = []
    for index, word in enumerate(words):
        bare = word.rstrip(",.!?:;")
        if bare and bare != PERSONAL:
            shapes.append((*words[:index], PERSONAL + word[len(bare) :], *words[index + 1 :]))
    return shapes

"""The preheader that goes with a subject: it adds to it, is about the campaign's topic, and fits its line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.subject_lines import text

SHORTEST, LONGEST = 35, 100  # characters: what mail programs show beside a subject, roughly
REPETITION, TOPIC, LENGTH = 0.5, 0.2, 0.2
"""What repeating the subject costs, covering the topic gains and a wrong length costs at most, in log-opens.

No shop logs preheaders by lot, so they are set, not fitted: larger than what most words do, so that a preheader which
says the subject again is never chosen for its words.
"""


def rank(weights: np.ndarray, inputs: object, subject: str, candidates: Sequence[str], topic: str) -> pd.DataFrame:
    """Candidates, best first: preheader, score, repetition and coverage (0 to 1), reasons.

    ``weights`` and ``inputs`` are the pairwise model's and its features of the subject (row 0) and the candidates: a
    feature that the subject has already is not counted again.
    """
    dense = np.asarray(inputs.todense()) if hasattr(inputs, "todense") else np.asarray(inputs)
    adds = (dense[1:] * (dense[:1] == 0)) @ weights
    repeats, covers = similarities(subject, candidates), similarities(topic, candidates)
    length = np.array([len(candidate) for candidate in candidates], dtype=float)
    wrong = np.clip(np.maximum(SHORTEST - length, length - LONGEST) / SHORTEST, 0.0, 1.0)
    score = adds - REPETITION * repeats + TOPIC * covers - LENGTH * wrong
    rows = pd.DataFrame({"preheader": list(candidates), "score": np.round(score, 6)})
    rows["repetition"], rows["coverage"] = np.round(repeats, 6), np.round(covers, 6)
    rows["reasons"] = [_reasons(*each) for each in zip(repeats, covers, wrong, length, adds, strict=True)]
    return rows.sort_values(["score", "preheader"], ascending=[False, True], kind="stable").reset_index(drop=True)


def similarities(one: str, others: Sequence[str]) -> np.ndarray:
    """Cosine of the counts of three characters within words, 0 to 1; word forms that differ in an ending are near."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    texts = [text.readable(each).lower() for each in (one, *others)]
    if not one.strip() or not any(each.strip() for each in texts[1:]):
        return np.zeros(len(others))
    counts = normalize(CountVectorizer(analyzer="char_wb", ngram_range=(3, 3), binary=True).fit_transform(texts))
    return np.asarray((counts[1:] @ counts[0].T).todense()).ravel()


def _reasons(repeats: float, covers: float, wrong: float, length: float, adds: float) -> str:
    words = []
    if repeats >= 0.5:
        words.append("repeats the subject")
    if covers >= 0.2:
        words.append("is about the topic")
    if wrong > 0:
        words.append("is too short" if length < SHORTEST else "is too long")
    if adds >= 0.02:
        words.append("adds what readers open for")
    return "; ".join(words[:3]) or "says something new"

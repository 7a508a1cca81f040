"""A subject line as numbers: styles that readers notice, words and characters by TF-IDF."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

if TYPE_CHECKING:
    from scipy.sparse import spmatrix

STYLES = {
    "personal": "the reader's own name",
    "urgency": "urgency",
    "question": "a question",
    "discount": "a discount or a price",
    "symbol": "a symbol or an emoji",
}
"""Styles and how a marketer calls them."""

SHAPE = {"digits": "digits", "exclamation": "an exclamation mark", "length": "its length", "capitals": "capitals"}

_TOKEN = r"\w+|[^\w\s]"  # a sign alone is a word too: no subject is without one
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_URGENCY = re.compile(
    r"\b(last (chance|day|call)|today|tonight|now|ends?|ending|hurry|going fast|final|expires?|deadline|"
    r"limited|only \d+|don.t miss|hours? left|days? left)\b",
    re.IGNORECASE,
)
_DISCOUNT = re.compile(
    r"\d\s?%|[£$€]\s?\d|\d\s?[£$€]|\b(off|free|sale|save|voucher|discount|coupon|deal)\b", re.IGNORECASE
)
_STANDS_FOR_A_NAME = "personaltoken"


def styles(subjects: Sequence[str]) -> np.ndarray:
    """Which styles each subject has, (subjects, 5) of 0 and 1, by :data:`STYLES`."""
    found = [
        (
            bool(_PLACEHOLDER.search(text)),
            bool(_URGENCY.search(text)),
            "?" in text,
            bool(_DISCOUNT.search(text)),
            any(unicodedata.category(sign) == "So" for sign in text),
        )
        for text in subjects
    ]
    return np.array(found, dtype=float).reshape(len(found), len(STYLES))


def shape(subjects: Sequence[str]) -> np.ndarray:
    """What else a subject looks like, (subjects, 4), by :data:`SHAPE`; the length in units of 50 characters."""
    rows = []
    for text in subjects:
        plain = _PLACEHOLDER.sub("name", text)
        letters = [sign for sign in plain if sign.isalpha()]
        capitals = sum(sign.isupper() for sign in letters) / max(len(letters), 1)
        rows.append((any(sign.isdigit() for sign in plain), "!" in plain, len(plain) / 50.0, capitals))
    return np.array(rows, dtype=float).reshape(len(rows), len(SHAPE))


def words_and_characters(subjects: Sequence[str]) -> FeatureUnion:
    """TF-IDF of words and word pairs, and of two to four characters within words, fitted on distinct subjects."""
    parts = [
        ("words", TfidfVectorizer(token_pattern=_TOKEN, ngram_range=(1, 2), sublinear_tf=True)),
        ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)),
    ]
    return FeatureUnion(parts).fit(sorted({readable(text) for text in subjects}))


def portable(union: FeatureUnion) -> FeatureUnion:
    """A copy without the memory address that vectorisers note of their stop words, which differs from run to run."""
    copied = copy.deepcopy(union)
    for _, vectoriser in copied.transformer_list:
        vars(vectoriser).pop("_stop_words_id", None)
    return copied


def features(union: FeatureUnion, subjects: Sequence[str]) -> spmatrix:
    """(subjects, inputs): styles, shape, words, characters, in this order."""
    told = csr_matrix(np.hstack([styles(subjects), shape(subjects)]))
    return csr_matrix(hstack([told, union.transform([readable(text) for text in subjects])]))


def names(union: FeatureUnion) -> list[str]:
    """What each input is, in words; characters have the empty name."""
    found = [*STYLES.values(), *SHAPE.values()]
    for name in union.get_feature_names_out():
        kind, _, text = str(name).partition("__")
        text = text.replace(_STANDS_FOR_A_NAME, "(name)")
        found.append(f'the words "{text}"' if kind == "words" else "")
    return found


def readable(text: str) -> str:
    """A text with one word for every placeholder."""
    return _PLACEHOLDER.sub(_STANDS_FOR_A_NAME, text)

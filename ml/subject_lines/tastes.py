"""Which style of subject line works for whom: each reader's opens, drawn to everybody's as far as they are few.

Of ``mails`` mails a reader opened ``opened``, and ``styled`` of the opened have the style. Given those numbers,
everybody's taste makes ``opened share`` of the opened styled, with the variance of drawing without replacement, since
no mail is opened twice. Observed less expected over the variance is the log odds ratio in one step (Yusuf, Peto et al.
1985); with a normal prior around 0 it is shrunk by its own precision. One variance serves all styles: a shop's mail
hardly tells one.

Arrays are (readers, styles), ``opened`` and ``mails`` (readers,).
"""

from __future__ import annotations

import numpy as np


def spread(styled: np.ndarray, opened: np.ndarray, mails: np.ndarray, share: np.ndarray) -> float:
    """The variance of readers' log odds ratios around everybody's, by moments (DerSimonian and Laird 1986); 0 or more.

    ``share`` is the share of opens that everybody's taste would give a style.
    """
    apart, information = _score(styled, opened, mails, share)
    total = float((information**2).sum())
    return max(float((apart**2 - information).sum()) / total, 0.0) if total > 0 else 0.0


def log_odds(
    styled: np.ndarray, opened: np.ndarray, mails: np.ndarray, share: np.ndarray, variance: float
) -> np.ndarray:
    """Log odds ratios at the posterior's mean, (readers, styles); 0 where nothing tells or readers do not differ."""
    apart, information = _score(styled, opened, mails, share)
    return apart * variance / (1.0 + information * variance)


def _score(
    styled: np.ndarray, opened: np.ndarray, mails: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    without = (opened * np.maximum(mails - opened, 0.0) / np.maximum(mails - 1.0, 1.0))[:, None]
    information = without * share * (1 - share)
    return np.where(information > 0, styled - opened[:, None] * share, 0.0), information

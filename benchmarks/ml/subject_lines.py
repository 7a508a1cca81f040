"""Subject lines on demo shops: the order of variants against the laws of the simulated readers, and variants in flight.

``python -m benchmarks.ml.subject_lines [--seeds 101 102 103] [--customers 3000] [--days 365]
[--output build/bench/ml_subject_lines.json]``. Built on the shops of seeds 1 to 3, reported on others.

The truth of a text is the mean over readers, weighted by their open rates, of what its styles do to their opens; pairs
of a campaign's texts whose truths differ by less than a hundredth have no order and are left out.

* Held-out campaigns: the last quarter in time, by a fit on the three quarters before. Their texts have mostly been
  sent before, so the history of the very same text is a baseline; chance is 0.5.
* New texts: the campaigns of one set of texts, by a fit on all campaigns of other sets. History says nothing here.
* Thompson sampling: a campaign of 6,000 mails in ten batches whose open rates are the truth's around the shop's;
  regret is the opens lost against sending the best text to all. Beside it uniform allocation, and the same sampling
  without the model's prior (uniform Beta). The prior comes from fits that have not seen the texts. The mean of 50
  campaigns for each set of texts.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ml.demo_shop import Shop, run
from benchmarks.ml.rows import row
from ml.models.subject_lines import Settings, rank_subjects
from ml.subject_lines import pairwise, thompson
from ml.subject_lines.fitted import fit
from ml.subject_lines.variants import mails, variants

MAILS, BATCHES, CAMPAIGNS = 6_000, 10, 50


def main(arguments: list[str] | None = None) -> int:
    """Build the shops that are not there, measure, print, write."""
    return run("subject_lines", __doc__.splitlines()[0], measure, arguments)


def measure(shops: list[Shop]) -> list[dict[str, Any]]:
    """Every figure over all shops together."""
    settings = Settings()
    late, new, gains, regrets = [], [], [], []
    for one in shops:
        sent = mails({"customer_emails": pd.read_parquet(f"{one.features}/customer_emails.parquet")}, _as_of(one))
        tried = variants(sent, settings.minimum_recipients)
        truth = _truths(one, tried["subject"])
        late.append(_late(sent, tried, truth, settings))
        sets = tried.groupby("campaign_id")["subject"].agg(tuple)
        for number, texts in enumerate(sorted(set(sets))):
            own = sets.index[sets == texts]
            fitted, _ = fit(sent[~sent["campaign_id"].isin(own)], settings)
            value, known = fitted.values(texts), truth.loc[list(texts)].to_numpy()
            new.append(_right(value, known))
            gains.append((known[value.argmax()] / known.mean() - 1, known.max() / known.mean() - 1))
            prior = rank_subjects(fitted, texts).set_index("subject").loc[list(texts)]
            rate = np.minimum(fitted.open_rate * known / known.mean(), 0.95)
            beta = (prior["prior_opened"].to_numpy(), prior["prior_ignored"].to_numpy())
            regrets.append(_regrets(rate, beta, seed=number))
    model, history, pairs = (sum(each) for each in zip(*late, strict=True))
    right, of = (sum(each) for each in zip(*new, strict=True))
    reached, best = (sum(each) for each in zip(*gains, strict=True))
    uniform, flat, prior = (float(np.mean(each)) for each in zip(*regrets, strict=True))
    return [
        row("held-out campaigns: pairs in the order of the truth", model / pairs, "", "> 0.5", model > pairs / 2, 0.5),
        row("held-out campaigns: over the same text's history", model / pairs, "", ">= baseline", model >= history)
        | {"baseline": round(history / pairs, 5)},
        row("new texts: pairs in the order of the truth", right / of, "", "> 0.5", right > of / 2, 0.5),
        row(
            "new texts: gain of the first-ranked, of the best one's over the mean",
            reached / best,
            "",
            "> 0",
            reached > 0,
            0.0,
        ),
        row("Thompson sampling, flat prior: regret", flat, "opens", "< uniform", flat < uniform, uniform),
        row("Thompson sampling, the model's prior: regret", prior, "opens", "< uniform", prior < uniform, uniform),
        row(
            "Thompson sampling, the model's prior: over the flat one", prior, "opens", "< baseline", prior < flat, flat
        ),
    ]


def _as_of(one: Shop) -> pd.Timestamp:
    return pd.Timestamp(one.as_of)


def _late(sent: pd.DataFrame, tried: pd.DataFrame, truth: pd.Series, settings: Settings) -> tuple[float, float, int]:
    """Right pairs by the model and by history in the last quarter of the campaigns, and how many pairs there are."""
    campaigns = tried["campaign_id"].unique()
    held = campaigns[-max(len(campaigns) // 4, 1) :]
    start = tried.loc[tried["campaign_id"].isin(held), "started_at"].min()
    fitted, _ = fit(sent[sent["delivered_at"] < start], settings)
    before = tried[~tried["campaign_id"].isin(held)]
    model = history = 0.0
    count = 0
    for _, texts in tried[tried["campaign_id"].isin(held)].groupby("campaign_id")["subject"]:
        known = truth.loc[texts].to_numpy()
        right, of = _right(fitted.values(list(texts)), known)
        by_history, _ = _right(pairwise.history(before, texts.to_numpy()), known)
        model, history, count = model + right, history + by_history, count + of
    return model, history, count


def _right(value: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """Pairs whose order is right, a tie counting half, and how many have an order."""
    right, count = 0.0, 0
    for one in range(len(truth)):
        for other in range(one):
            if abs(np.log(truth[one] / truth[other])) >= 0.01:
                count += 1
                sign = np.sign(np.round(value[one] - value[other], 9)) * np.sign(truth[one] - truth[other])
                right += (sign + 1) / 2
    return right, count


def _truths(one: Shop, subjects: pd.Series) -> pd.Series:
    """How many times a plain text's opens each template gets, by the laws of the simulated readers."""
    from letterpress.demo.simulation import reading

    people = one.truth().state.people
    person = one.people()["person"].to_numpy()
    weight, taste = people["open_rate"][person], people["subject_taste"][person]
    texts = sorted(set(subjects))
    effects = [
        np.average(np.exp(taste @ reading.features(text.replace("{personal}", "{name}"), "")), weights=weight)
        for text in texts
    ]
    return pd.Series(effects, index=texts)


def _regrets(rate: np.ndarray, prior: tuple[np.ndarray, np.ndarray], seed: int) -> tuple[float, float, float]:
    """Mean opens lost in a campaign: uniform, Thompson sampling with a flat prior, and with the model's."""
    chance = np.random.default_rng(seed)
    size = MAILS // BATCHES
    flat = (np.ones(len(rate)), np.ones(len(rate)))
    lost = [MAILS * (rate.max() - rate.mean())]
    for given in (flat, prior):
        total = 0.0
        for _ in range(CAMPAIGNS):
            opened, delivered = np.zeros(len(rate)), np.zeros(len(rate))
            for _ in range(BATCHES):
                shares = thompson.allocation(opened, delivered, given)
                batch = chance.multinomial(size, shares)
                opened, delivered = opened + chance.binomial(batch, rate), delivered + batch
                total += float(batch @ (rate.max() - rate))
        lost.append(total / CAMPAIGNS)
    return lost[0], lost[1], lost[2]


if __name__ == "__main__":
    sys.exit(main())

"""Send time on demo shops: mails at the model's hour against simple answers and an oracle that knows the traits.

``python -m benchmarks.ml.send_time [--seeds 101 102 103] [--customers 3000] [--days 365]
[--output build/bench/ml_send_time.json]``. The model was built on the shops of seeds 1 to 3; the seeds reported by
default were never used in building.

The measure is the expected open rate, by the laws of the simulated readers, of one mail to everybody on each day of a
week: everybody's own open rate times the factor of the hour at which it comes, in their own time zone. Exploration is
off. Shorter histories are measured on the customers who had been seen by then. Beside the model stand

* any hour: an hour by lot;
* everyone: all at the one hour of the local day that is best in truth, one for weekdays and one for weekends (the
  strongest form of the naive answer);
* raw histogram: each at the hour at which they have opened most, the earliest of several; who has opened nothing gets
  the hour at which most is opened;
* oracle: each at the hour that is best in truth.

The share of the oracle's gain is ``(model - everyone) / (oracle - everyone)``; it has to be at least 0.7 as the mean of
the seeds. A mail at any hour would be an easier zero, and is printed too. Ends with 1 where a bar is missed.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ml.demo_shop import Shop, run
from benchmarks.ml.rows import row
from ml.models.send_time import MODEL, Settings
from ml.send_time import readings

FRAMES = ("customer_features", "customer_emails", "customer_sessions", "customer_orders")
HISTORIES = (30, 60, 120)
WEEK = (5 / 7, 2 / 7)  # weekdays, weekend


def main(arguments: list[str] | None = None) -> int:
    """Build the shops that are not there, measure, print, write."""
    return run("send_time", __doc__.splitlines()[0], measure, arguments)


def measure(shops: list[Shop]) -> list[dict[str, Any]]:
    """Every figure as the mean of the shops, and the gains of each shop."""
    full = pd.DataFrame([_rates(one) for one in shops])
    mean = full.mean()
    rows = [
        row("open rate at the model's hour, over everyone's", mean["model"], "", "> baseline", _above(full, "everyone"))
        | {"baseline": round(mean["everyone"], 5)},
        row("open rate at the model's hour, over the raw histogram's", mean["model"], "", "> baseline", _above(full))
        | {"baseline": round(mean["histogram"], 5)},
        row("open rate at an hour by lot", mean["lot"], "", "(shown)", True),
        row("open rate at the oracle's hour", mean["oracle"], "", "(shown)", True),
    ]
    gain = (full["model"] - full["everyone"]) / (full["oracle"] - full["everyone"])
    of_histogram = (mean["histogram"] - mean["everyone"]) / (mean["oracle"] - mean["everyone"])
    what = "share of the oracle's gain over everyone"
    rows.append(row(f"{what}, mean of the seeds", gain.mean(), "", ">= 0.7", gain.mean() >= 0.7, of_histogram))
    rows += [
        row(f"{what}, shop {one.folder.name}", each, "", "(shown)", True) for one, each in zip(shops, gain, strict=True)
    ]
    for kind in ("weekday", "weekend"):
        part = (mean[f"model_{kind}"] - mean[f"everyone_{kind}"]) / (mean[f"oracle_{kind}"] - mean[f"everyone_{kind}"])
        rows.append(row(f"{what}, mail on a {kind}", part, "", "(shown)", True))
    over_lot = ((full["model"] - full["lot"]) / (full["oracle"] - full["lot"])).mean()
    naive = ((full["everyone"] - full["lot"]) / (full["oracle"] - full["lot"])).mean()
    rows.append(row("share of the oracle's gain over an hour by lot", over_lot, "", "(shown)", True, naive))
    for history in HISTORIES:
        if history < shops[0].days:
            short = pd.DataFrame([_rates(one, history) for one in shops])
            part = ((short["model"] - short["everyone"]) / (short["oracle"] - short["everyone"])).mean()
            raw = ((short["histogram"] - short["everyone"]) / (short["oracle"] - short["everyone"])).mean()
            rows.append(row(f"{what}, after {history} days", part, "", "(shown)", True, raw))
    return rows


def _above(full: pd.DataFrame, other: str = "histogram") -> bool:
    return bool((full["model"] > full[other]).all())


def _rates(one: Shop, history: int | None = None) -> dict[str, float]:
    """Expected open rates of the answers, with the events of the shop's first ``history`` days."""
    frames = {name: pd.read_parquet(f"{one.features}/{name}.parquet") for name in FRAMES}
    as_of = pd.Timestamp(one.as_of)
    if history is not None:
        as_of = as_of - pd.Timedelta(days=one.days - history)
        frames = readings.cut(frames, as_of)
    fitted = MODEL.train(frames, as_of.to_pydatetime(), Settings(exploration=0.0), 0).fitted
    scored = MODEL.score(fitted, frames, as_of.to_pydatetime()).rows.set_index("customer_id")
    truth, people = one.truth(), one.people()
    people = people[people["customer_id"].isin(scored.index)]
    if history is not None:
        seen = [frames[name]["customer_id"] for name in FRAMES[1:]]
        people = people[people["customer_id"].isin(pd.concat(seen))]
    person = people["person"].to_numpy()
    own_rate = truth.state.people["open_rate"][person]
    raw = _most_opened(frames, people["customer_id"])
    rates = {}
    for kind, column in (("weekday", "workday_hour"), ("weekend", "weekend_hour")):
        value = own_rate[:, None] * _factors(truth.best_hour(person, weekend=kind == "weekend"))
        rows = np.arange(len(person))
        rates |= {
            f"model_{kind}": value[rows, scored.loc[people["customer_id"], column].to_numpy()].mean(),
            f"histogram_{kind}": value[rows, raw].mean(),
            f"everyone_{kind}": value.mean(axis=0).max(),
            f"lot_{kind}": value.mean(),
            f"oracle_{kind}": value.max(axis=1).mean(),
        }
    for answer in ("model", "histogram", "everyone", "lot", "oracle"):
        rates[answer] = WEEK[0] * rates[f"{answer}_weekday"] + WEEK[1] * rates[f"{answer}_weekend"]
    return {name: float(each) for name, each in rates.items()}


def _factors(best: np.ndarray) -> np.ndarray:
    """What each of the 24 hours makes of opens, by the law of ``answers.hour_factor``: (people, 24)."""
    from letterpress.demo.simulation import effects

    apart = np.abs(np.arange(24)[None, :] - best[:, None])
    apart = np.minimum(apart, 24 - apart)
    return 1.0 - effects.HOUR_EFFECT * (1.0 - np.exp(-0.5 * (apart / effects.HOUR_WIDTH) ** 2))


def _most_opened(frames: dict[str, pd.DataFrame], customer_id: pd.Series) -> np.ndarray:
    """The raw histogram's hour for each customer."""
    features = frames["customer_features"]
    who = readings.people(features, readings.zones_of(features), ())
    events = readings.readings(frames, who)
    opens = events.where(~np.isnan(events.lag))
    cell = opens.person * 24 + opens.hour.astype(np.int64)
    counts = np.bincount(cell, minlength=len(who.customer_id) * 24).reshape(-1, 24)
    hour = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), counts.sum(axis=0).argmax())
    return hour[who.rows(customer_id)]


if __name__ == "__main__":
    sys.exit(main())

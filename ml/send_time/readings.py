"""The evidence of when people read: visits, opens with their delay, and what became of mail by its hour of delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.send_time import clock
from ml.send_time.clock import HOURS, WEEKEND
from ml.spec import Frames

CAUSED_HOURS = 1.0
"""A visit so soon after a click belongs to the mail: its hour says when the mail came, not when somebody is free."""

UNKNOWN = "(unknown)"


@dataclass(frozen=True)
class People:
    """Customers in the order of their ids: where each lives and which segment each belongs to."""

    customer_id: np.ndarray
    zone: np.ndarray
    segment: np.ndarray

    def rows(self, customer_id: pd.Series) -> np.ndarray:
        """The row of each id, -1 for somebody else."""
        return pd.Index(self.customer_id).get_indexer(customer_id)


@dataclass(frozen=True)
class Readings:
    """Events that say when people read, one value an event.

    ``lag`` is the hours from delivery to opening, NaN for an event that no mail caused: a visit or an order.
    """

    person: np.ndarray
    hour: np.ndarray
    weekday: np.ndarray
    lag: np.ndarray

    @property
    def is_weekend(self) -> np.ndarray:
        """Whether an event is on Saturday or Sunday of the local calendar."""
        return self.weekday >= WEEKEND

    def where(self, mask: np.ndarray) -> Readings:
        """Some of the events."""
        return Readings(self.person[mask], self.hour[mask], self.weekday[mask], self.lag[mask])


@dataclass(frozen=True)
class Deliveries:
    """Mails that arrived, one value a mail; ``expected`` is its campaign's open rate."""

    person: np.ndarray
    hour: np.ndarray
    weekday: np.ndarray
    opened: np.ndarray
    expected: np.ndarray
    campaign: np.ndarray
    delivered_at: np.ndarray

    def by_hour(self, people: int, *, weekend: bool) -> tuple[np.ndarray, np.ndarray]:
        """Opens and expected opens by person and local hour of delivery, each (people, 24)."""
        mask = (self.weekday >= WEEKEND) == weekend
        cell = self.person[mask] * HOURS + self.hour[mask].astype(np.int64)
        opened = np.bincount(cell, self.opened[mask], minlength=people * HOURS)
        expected = np.bincount(cell, self.expected[mask], minlength=people * HOURS)
        return opened.reshape(people, HOURS), expected.reshape(people, HOURS)


def zones_of(features: pd.DataFrame) -> dict[str, str]:
    """The commonest time zone of each country, and of everybody under ``UNKNOWN``; UTC where none is known."""
    known = features[[clock.is_zone(zone) for zone in features["time_zone"]]]
    zones = {UNKNOWN: "UTC"}
    if len(known):
        zones[UNKNOWN] = str(known["time_zone"].mode().iloc[0])
        told = known.dropna(subset="country_code")
        modes = told.groupby("country_code")["time_zone"].agg(lambda names: names.mode().iloc[0])
        zones |= {str(country): str(zone) for country, zone in modes.items()}
    return zones


def people(features: pd.DataFrame, zones: Mapping[str, str], segments: tuple[str, ...]) -> People:
    """Everybody in ``customer_features``; an unknown zone is the commonest of the country, else of all customers."""
    features = features.sort_values("customer_id", kind="stable")
    country = features["country_code"].astype(object).where(features["country_code"].notna(), UNKNOWN)
    usual = [zones.get(str(each), zones[UNKNOWN]) for each in country]
    own = features["time_zone"].to_numpy(dtype=object)
    zone = [name if clock.is_zone(name) else other for name, other in zip(own, usual, strict=True)]
    parts = [features[name].astype(object).where(features[name].notna(), UNKNOWN).astype(str) for name in segments]
    segment = parts[0].str.cat(parts[1:], sep=", ") if parts else pd.Series(UNKNOWN, index=features.index)
    return People(
        features["customer_id"].to_numpy(dtype=object), np.array(zone, dtype=object), segment.to_numpy(dtype=object)
    )


def readings(frames: Frames, who: People, since: pd.Timestamp | None = None) -> Readings:
    """Visits (orders, in a shop that knows no visits) and opens of ``who``, where the local clock stood.

    An open that is not known is taken from the click. Visits within ``CAUSED_HOURS`` after a click are left out.
    """
    mails = _mails(frames)
    visits = _visits(frames, mails)
    read = mails.dropna(subset=["read_at", "delivered_at"])
    lag = (read["read_at"] - read["delivered_at"]) / pd.Timedelta(hours=1)
    events = pd.concat(
        [
            visits.assign(lag=np.nan),
            pd.DataFrame({"customer_id": read["customer_id"], "at": read["read_at"], "lag": lag.clip(lower=0.0)}),
        ],
        ignore_index=True,
    )
    if since is not None:
        events = events[events["at"] >= since]
    person = who.rows(events["customer_id"])
    events, person = events[person >= 0], person[person >= 0]
    order = np.lexsort((events["lag"].fillna(-1.0), events["at"], person))
    events, person = events.iloc[order], person[order]
    hour, weekday = clock.local(events["at"], who.zone[person])
    return Readings(person, hour, weekday, events["lag"].to_numpy(dtype=float))


def deliveries(frames: Frames, who: People, rates: Mapping[str, float], overall: float) -> Deliveries:
    """Mails that reached ``who``; a campaign without a rate of its own is expected to do as all do."""
    mails = _mails(frames).dropna(subset="delivered_at")
    person = who.rows(mails["customer_id"])
    mails, person = mails[person >= 0], person[person >= 0]
    order = np.lexsort((mails["email_message_id"].to_numpy(dtype=str), mails["delivered_at"], person))
    mails, person = mails.iloc[order], person[order]
    hour, weekday = clock.local(mails["delivered_at"], who.zone[person])
    campaign = mails["campaign_id"].astype(object).where(mails["campaign_id"].notna(), UNKNOWN).to_numpy(dtype=object)
    expected = np.array([rates.get(str(each), overall) for each in campaign], dtype=float)
    opened = mails["read_at"].notna().to_numpy(dtype=float)
    return Deliveries(person, hour, weekday, opened, expected, campaign, mails["delivered_at"].to_numpy())


def open_rates(frames: Frames, prior_mails: float = 50.0) -> tuple[dict[str, float], float]:
    """The open rate of each campaign, drawn to that of all mail as if by ``prior_mails`` more mails; and of all mail.

    A campaign is compared with itself only: what its content and its day do to opens is no effect of an hour.
    """
    mails = _mails(frames).dropna(subset="delivered_at")
    if mails.empty:
        return {}, 0.2
    overall = float((mails["read_at"].notna().sum() + 1.0) / (len(mails) + 2.0))
    grouped = mails["read_at"].notna().groupby(mails["campaign_id"]).agg(["sum", "size"]).sort_index()
    rates = (grouped["sum"] + prior_mails * overall) / (grouped["size"] + prior_mails)
    return {str(name): float(rate) for name, rate in rates.items()}, overall


def cut(frames: Frames, at: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """The frames as they were at an earlier instant: later events, opens and clicks have not happened yet."""
    mails = frames["customer_emails"]
    mails = mails[mails["sent_at"] <= at].copy()
    for column in ("delivered_at", "opened_at", "clicked_at"):
        mails[column] = mails[column].where(mails[column] <= at)
    sessions, orders = frames["customer_sessions"], frames["customer_orders"]
    return {
        **frames,
        "customer_emails": mails,
        "customer_sessions": sessions[sessions["started_at"] <= at],
        "customer_orders": orders[orders["ordered_at"] <= at],
    }


def _mails(frames: Frames) -> pd.DataFrame:
    mails = frames["customer_emails"]
    return mails.assign(read_at=mails["opened_at"].where(mails["opened_at"].notna(), mails["clicked_at"]))


def _visits(frames: Frames, mails: pd.DataFrame) -> pd.DataFrame:
    sessions, orders = frames["customer_sessions"], frames["customer_orders"]
    source, column = (sessions, "started_at") if len(sessions) else (orders, "ordered_at")
    visits = pd.DataFrame({"customer_id": source["customer_id"], "at": source[column]}).sort_values("at", kind="stable")
    clicks = mails.dropna(subset="clicked_at")[["customer_id", "clicked_at"]].sort_values("clicked_at", kind="stable")
    if visits.empty or clicks.empty:
        return visits.reset_index(drop=True)
    clicks["customer_id"] = clicks["customer_id"].astype(visits["customer_id"].dtype)
    told = pd.merge_asof(visits, clicks, left_on="at", right_on="clicked_at", by="customer_id")
    is_caused = (told["at"] - told["clicked_at"]) <= pd.Timedelta(hours=CAUSED_HOURS)
    return told.loc[~is_caused, ["customer_id", "at"]].reset_index(drop=True)

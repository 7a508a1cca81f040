"""Customers with a planted hour of reading, their visits and their mail, as the warehouse publishes them."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

AS_OF = datetime(2011, 7, 1, tzinfo=UTC)
ZONES = (("GB", "Europe/London"), ("US", "America/New_York"), ("AU", "Australia/Sydney"), ("DE", "Europe/Berlin"))


def planted(customers: int = 300, weeks: int = 20, seed: int = 3, *, hours: tuple[int, ...] = (8, 20)) -> dict:
    """Frames of customers who read around one of ``hours`` in their own zone; and the hours, by customer.

    Every week has a mail at an hour by lot for a third, at 09:00 UTC for the others. Opens lose up to half away from
    the reader's hour; half of them come at once, half at the reader's hour. One visit a week.
    """
    chance = np.random.default_rng(seed)
    rows = np.arange(customers)
    names = np.array([f"c{row:04d}" for row in rows])
    country, zone = (np.array(each, dtype=object) for each in zip(*(ZONES[row % 4] for row in rows), strict=True))
    own = np.array(hours)[chance.integers(0, len(hours), customers)]
    features = pd.DataFrame({"customer_id": names, "country_code": country, "time_zone": zone})
    features["preferred_device"] = np.where(chance.random(customers) < 0.5, "mobile", "desktop")
    features["as_of"] = pd.Timestamp(AS_OF)
    mails, visits = [], []
    for week in range(weeks):
        tuesday = pd.Timestamp("2011-02-01", tz="UTC") + pd.Timedelta(weeks=week)
        by_lot = chance.random(customers) < 1 / 3
        sent = tuesday + pd.to_timedelta(np.where(by_lot, chance.integers(0, 24, customers), 9), unit="h")
        local = np.array([at.tz_convert(name).hour for at, name in zip(sent, zone, strict=True)])
        apart = np.minimum((local - own) % 24, (own - local) % 24)
        opened = chance.random(customers) < 0.6 * (1 - 0.5 * (1 - np.exp(-0.5 * (apart / 3) ** 2)))
        later = ((own - local) % 24 + chance.normal(0, 1, customers)) % 24
        lag = np.where(chance.random(customers) < 0.5, np.exp(chance.normal(-1, 0.8, customers)), later)
        mails.append(
            pd.DataFrame(
                {
                    "customer_id": names,
                    "email_message_id": [f"m{week:03d}.{name}" for name in names],
                    "campaign_id": f"newsletter-{week:03d}",
                    "subject": np.where(chance.random(customers) < 0.5, "{name}, new in", "New in"),
                    "sent_at": sent,
                    "delivered_at": sent + pd.Timedelta(seconds=10),
                    "opened_at": (sent + pd.to_timedelta(lag * 3600 + 10, unit="s")).where(opened),
                    "clicked_at": pd.Series(pd.NaT, index=range(customers), dtype="datetime64[us, UTC]"),
                }
            )
        )
        day = (
            pd.Timestamp("2011-02-01")
            + pd.Timedelta(weeks=week)
            + pd.to_timedelta(chance.integers(0, 7, customers), "D")
        )
        shown = day + pd.to_timedelta(((own + chance.normal(0, 1.5, customers)) % 24) * 3600, unit="s")
        at = [
            moment.tz_localize(name, ambiguous=True, nonexistent="shift_forward").tz_convert("UTC")
            for moment, name in zip(shown, zone, strict=True)
        ]
        visits.append(pd.DataFrame({"customer_id": names, "started_at": at}))
    emails, sessions = pd.concat(mails, ignore_index=True), pd.concat(visits, ignore_index=True)
    for frame in (emails, sessions):
        for column in frame.columns[frame.columns.str.endswith("_at")]:
            frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[us, UTC]")
    for column in ("opened_at", "clicked_at"):
        emails[column] = emails[column].where(emails[column] <= pd.Timestamp(AS_OF))
    sessions = sessions[sessions["started_at"] <= pd.Timestamp(AS_OF)].reset_index(drop=True)
    orders = pd.DataFrame({"customer_id": names[:0], "order_id": names[:0], "ordered_at": sessions["started_at"][:0]})
    frames = {
        "customer_features": features,
        "customer_emails": emails,
        "customer_sessions": sessions,
        "customer_orders": orders,
    }
    return {"frames": frames, "hour": dict(zip(names, own.tolist(), strict=True))}


def of_customers(frames: dict, names: list[str]) -> dict:
    """The frames of some customers, each with all of their rows."""
    return {
        name: frame[frame["customer_id"].isin(names)].reset_index(drop=True) if "customer_id" in frame else frame
        for name, frame in frames.items()
    }


def shuffled(frames: dict, seed: int) -> dict:
    """The same rows in another order."""
    return {name: frame.sample(frac=1, random_state=seed).reset_index(drop=True) for name, frame in frames.items()}


def without_events(frames: dict) -> dict:
    """The customers of the frames, with nothing known of what they did."""
    return {name: frame if name == "customer_features" else frame.iloc[:0] for name, frame in frames.items()}

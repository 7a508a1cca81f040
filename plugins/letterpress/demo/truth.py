"""What really is so in a demo shop: for tests and benchmarks alone.

Hidden traits, who is behind which account, device and order, what was planted where, and what an oracle that knows
the traits would expect. The API serves none of it, and the linter keeps `ml`, `expectations` and the rest of
Letterpress from importing this module.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from letterpress.demo.simulation import answers, identity, traits, truths
from letterpress.demo.simulation.answers import Mailing
from letterpress.demo.simulation.effects import Uplift
from letterpress.demo.simulation.switches import Behaviour
from letterpress.demo.simulation.tables import PEOPLE, State

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Truth:
    """The truth about one shop at one instant.

    ``devices``, ``orders`` and ``planted`` are frames with the columns of ``simulation.truths.SCHEMAS``; people and
    accounts are counted from 0, account 0 is the customer ``C000001``, person -1 is somebody without an account.
    """

    state: State
    devices: "pd.DataFrame"
    orders: "pd.DataFrame"
    planted: "pd.DataFrame"

    def people(self) -> "pd.DataFrame":
        """One row per person: every hidden trait of one value, the index is the person."""
        import pandas as pd

        frame = pd.DataFrame({name: self.state.people[name] for name, (_, width) in PEOPLE.items() if width == 1})
        frame["uplift"] = [Uplift(group).name.lower() for group in frame["uplift"]]
        return frame

    def accounts(self) -> "pd.DataFrame":
        """One row per account: customer_id, person (its owner), mail_person (who reads its mail), clean address."""
        import pandas as pd

        held = self.state.accounts
        account = np.arange(len(held))
        clean, typed = identity.addresses(self.state, account)
        return pd.DataFrame(
            {
                "customer_id": [f"C{number + 1:06d}" for number in account.tolist()],
                "person": held["person"],
                "mail_person": held["mail_person"],
                "address": clean.to_pylist(),
                "address_as_typed": typed.to_pylist(),
                "is_deliverable": traits.is_deliverable(held["mail_dirt"]),
            }
        )

    def identifiers(self) -> "pd.DataFrame":
        """One row per identifier and person: kind, identifier, person, is_resolvable.

        Resolvable is what the evidence in the data gives away: an account with a deliverable address of its owner; a
        device on which its owner signed in with an account of theirs, and nobody else with another; a guest's order
        under such an address. Kiosks and bots, joint accounts and other people's addresses are not.
        """
        import pandas as pd

        accounts = self.accounts()
        own = (accounts["person"] == accounts["mail_person"]) & accounts["is_deliverable"]
        rows = [
            pd.DataFrame(
                {
                    "kind": "customer_id",
                    "identifier": accounts["customer_id"],
                    "person": accounts["person"],
                    "is_resolvable": own,
                }
            )
        ]
        devices = self.devices[(self.devices["person"] >= 0) & ~self.devices["is_kiosk"] & ~self.devices["is_bot"]]
        signed_in = devices[devices["account"] >= 0]
        owner = pd.Series(self.state.accounts["person"])
        owners = signed_in.assign(owner=owner.loc[signed_in["account"]].to_numpy(), own=0)
        owners["own"] = own.loc[owners["account"]].to_numpy()
        told = owners.groupby("anonymous_id").agg(owner=("owner", "first"), n=("owner", "nunique"), own=("own", "max"))
        known = devices.drop_duplicates(["anonymous_id", "person"]).join(told, on="anonymous_id")
        rows.append(
            pd.DataFrame(
                {
                    "kind": "anonymous_id",
                    "identifier": known["anonymous_id"],
                    "person": known["person"],
                    "is_resolvable": (known["n"] == 1) & (known["owner"] == known["person"]) & (known["own"] == 1),
                }
            )
        )
        guests = self.orders[(self.orders["account"] < 0) & (self.orders["person"] >= 0)]
        mistyped = self.planted[
            (self.planted["entity"] == "orders") & self.planted["kind"].isin(("missing_emails", "invalid_emails"))
        ]
        reachable = set(accounts.loc[own, "person"])
        rows.append(
            pd.DataFrame(
                {
                    "kind": "order_id",
                    "identifier": guests["order_id"],
                    "person": guests["person"],
                    "is_resolvable": guests["person"].isin(reachable) & ~guests["order_id"].isin(mistyped["key"]),
                }
            )
        )
        return pd.concat(rows, ignore_index=True)

    def pairwise(self, found: "pd.DataFrame") -> dict[str, float]:
        """How well a map of identifiers to persons finds who is who, pair by pair of resolvable identifiers.

        ``found`` has the columns kind and identifier (as in ``identifiers``) and customer_id, whatever names the
        person; an identifier that it leaves out belongs to nobody else. Precision is the share of the found pairs
        that are one person's, recall the share of one person's pairs that are found.
        """
        told = self.identifiers().merge(found, how="left", on=["kind", "identifier"])
        unknown = told["customer_id"].isna()
        told.loc[unknown, "customer_id"] = "unknown " + told.index[unknown].astype(str)
        resolvable = told[told["is_resolvable"]]

        def pairs(by: list[str]) -> int:
            sizes = resolvable.groupby(by).size()
            return int((sizes * (sizes - 1) // 2).sum())

        both, planted, joined = pairs(["person", "customer_id"]), pairs(["person"]), pairs(["customer_id"])
        return {
            "precision": both / joined,
            "recall": both / planted,
            "resolvable_pairs": planted,
            "unresolvable_identifiers": int((~told["is_resolvable"]).sum()),
        }

    def best_hour(self, person: np.ndarray, *, weekend: bool) -> np.ndarray:
        """The hour in each person's own zone at which a mail is opened most."""
        return answers.best_hour(self.state.people, person, weekend)

    def expected_orders(self, person: np.ndarray, days: float) -> np.ndarray:
        """Orders that each person will place within so many days without any mail, by an oracle.

        With rate l and drop-out p of somebody active: (1 - exp(-l p t)) / p (Fader, Hardie and Lee 2005, the
        individual's expectation); 0 for those who have left. Seasons and birthdays are left out.
        """
        people = self.state.people
        rate, dropout = people["purchase_rate"][person], people["dropout"][person]
        orders = -np.expm1(-rate * dropout * days) / dropout
        return np.where(people["active"][person] & people["bought"][person], orders, 0.0)

    def chances(self, mailing: Mailing, behaviour: Behaviour | None = None) -> "pd.DataFrame":
        """The chance that each mail is opened, clicked, and bought from, by an oracle: one row a mail."""
        import pandas as pd

        people = self.state.people
        pressure = answers.pressure_at(people, mailing.person, mailing.at)
        by_link = answers.link_fit(people, self.state.products, mailing)
        fits = answers.fit(people, mailing, by_link)
        opened = answers.open_chance(people, mailing, pressure, behaviour or Behaviour())
        clicked = opened * answers.click_chance(people, mailing, fits)
        return pd.DataFrame(
            {
                "opened": opened,
                "clicked": clicked,
                "bought": clicked * answers.order_chance(people, mailing, fits) * people["active"][mailing.person],
            }
        )


def of_shop(home: str | Path) -> Truth:
    """The truth about the shop served from ``<home>/shop/shop.sqlite``; ``FileNotFoundError`` where there is none."""
    import pandas as pd

    path = Path(home) / "shop" / "shop.sqlite"
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected a demo shop, found none; next step: start it once (`make shop`)")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as connection:
        (state,) = connection.execute("select state from shop").fetchone()
        frames = [pd.read_sql_query(f"select * from {name}", connection) for name in _tables("truth_{}")]
    return _truth(State.load(state), frames)


def of_history(folder: str | Path) -> Truth:
    """The truth about a history that ``make shop-history`` wrote; ``FileNotFoundError`` where it is not whole."""
    import pandas as pd

    root = Path(folder)
    if not (root / "manifest.json").exists():
        raise FileNotFoundError(
            f"{root}/manifest.json: expected a whole history, found none; next step: `make shop-history`"
        )
    state = State.load((root / "truth" / "state.npz").read_bytes())
    return _truth(state, [pd.read_parquet(root / "truth" / name) for name in _tables("{}")])


def _tables(pattern: str) -> Sequence[str]:
    return [pattern.format(name) for name in ("devices", "orders", "planted")]


def _truth(state: State, frames: "Sequence[pd.DataFrame]") -> Truth:
    devices, orders, planted = frames
    for frame, name in ((devices, "devices"), (orders, "orders"), (planted, "planted")):
        assert list(frame.columns) == truths.SCHEMAS[name].names
    devices[["is_kiosk", "is_bot"]] = devices[["is_kiosk", "is_bot"]].astype(bool)
    return Truth(state, devices, orders, planted)

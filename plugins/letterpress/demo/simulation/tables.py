"""Columns of numpy arrays that grow, and the hidden state of the shop that is made of them."""

import io
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

Column = tuple[str, int]  # dtype and width; width 1 is a plain column

PEOPLE: dict[str, Column] = {
    # who they are; never changes
    "country": ("i2", 1),
    "zone": ("i2", 1),
    "first_name": ("i4", 1),
    "last_name": ("i4", 1),
    "birth_day": ("i4", 1),  # days since 1970
    "birthday": ("i2", 1),  # day of the year
    "mail_style": ("i1", 1),
    "mail_domain": ("i1", 1),
    "joins": ("?", 1),  # has no account of their own: uses somebody else's
    # what drives them; never served
    "sign_up_day": ("i4", 1),
    "lead_days": ("i2", 1),  # visits without an account before signing up
    "buys_at_sign_up": ("?", 1),
    "consents_at_sign_up": ("?", 1),
    "purchase_rate": ("f8", 1),  # orders a day while active
    "dropout": ("f8", 1),  # chance to leave for good after an order
    "basket": ("f8", 1),  # lines beyond the first
    "thrift": ("f8", 1),  # chance to take the cheaper of two
    "taste": ("f4", 8),  # cumulative over the categories
    "seasonal": ("f8", 1),  # how much of the season they go along with
    "visit_rate": ("f8", 1),  # visits a day without a purpose
    "peak_hour": ("f8", 1),  # in their own time zone, Monday to Friday
    "weekend_shift": ("f8", 1),  # hours later on Saturday and Sunday
    "mobile_share": ("f8", 1),  # of their visits
    "open_rate": ("f8", 1),  # of a mail at their best hour
    "click_rate": ("f8", 1),  # of the opened
    "subject_taste": ("f4", 5),  # log-opens, by effects.Subject
    "uplift": ("i1", 1),  # effects.Uplift
    "persuasion": ("f4", 7),  # times effects.CONVERSION, by effects.Message
    "deterrence": ("f8", 1),  # orders lost for each unit of pressure
    "mail_weariness": ("f8", 1),
    "opens_by_machine": ("?", 1),
    "scanner": ("i1", 1),  # of the mailbox: 0 none, 1 one that names itself, 2 one that hides
    "dead_mailbox": ("?", 1),
    "agent": ("i1", 2),  # browser on each of two devices
    # what has become of them
    "active": ("?", 1),
    "bought": ("?", 1),
    "account": ("i4", 1),  # the one they last signed up with, -1 before
    "first_account": ("i4", 1),
    "pressure": ("f8", 1),  # mails of late, decayed to the instant below
    "pressure_at": ("i8", 1),
    "anonymous_high": ("u8", 2),
    "anonymous_low": ("u8", 2),
    "device_known": ("?", 2),
}

ACCOUNTS: dict[str, Column] = {
    "person": ("i4", 1),
    "signed_up_at": ("i8", 1),
    "mail_person": ("i4", 1),  # whose address it is
    "mail_dirt": ("i1", 1),
    "has_phone": ("?", 1),
    "phone": ("i4", 1),
    "has_birth_date": ("?", 1),
    "preferences": ("u1", 1),  # one bit a category
    "tier": ("i1", 1),
    "spent": ("i8", 1),  # pence, without cancelled orders
    "consent": ("i1", 1),
    "consent_day": ("i4", 1),
    "suppressed": ("?", 1),  # bounced hard or complained
}

PRODUCTS: dict[str, Column] = {
    "category": ("i2", 1),
    "name": ("i4", 1),  # adjective * 100 + thing
    "popularity": ("f8", 1),
    "created_day": ("i4", 1),
    "price": ("i8", 1),  # pence
    "stock": ("i8", 1),
    "reorder_at": ("i8", 1),
    "delivery": ("i8", 1),  # units that a restocking brings
}

CLICKS: dict[str, Column] = {  # visits that mails have caused and that are still to come
    "at": ("i8", 1),
    "person": ("i4", 1),
    "product": ("i4", 1),
    "campaign": ("i4", 1),
    "buys": ("?", 1),
    "offered": ("?", 1),  # the mail promised a discount
}


class Table:
    """Named columns of equal length; appending is amortised, reading is a view."""

    def __init__(self, columns: dict[str, Column]):
        self._columns = columns
        self._size = 0
        self._arrays = {name: self._empty(column, 16) for name, column in columns.items()}

    @staticmethod
    def _empty(column: Column, capacity: int) -> np.ndarray:
        dtype, width = column
        return np.zeros(capacity if width == 1 else (capacity, width), dtype=dtype)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name][: self._size]

    def append(self, values: dict[str, Any]) -> np.ndarray:
        """Add rows, one value or array for every column; their indices come back."""
        if values.keys() != self._columns.keys():
            raise ValueError(f"expected the columns {sorted(self._columns)}, found {sorted(values)}")
        count = max((len(value) for value in values.values() if np.ndim(value)), default=0)
        end = self._size + count
        capacity = len(next(iter(self._arrays.values())))
        for name, value in values.items():
            if end > capacity:
                larger = self._empty(self._columns[name], max(end, 2 * capacity))
                larger[: self._size] = self._arrays[name][: self._size]
                self._arrays[name] = larger
            self._arrays[name][self._size : end] = value
        start, self._size = self._size, end
        return np.arange(start, end)

    def keep(self, mask: np.ndarray) -> None:
        """Leave only the rows of the mask."""
        for name in self._columns:
            kept = self[name][mask]
            self._arrays[name][: len(kept)] = kept
        self._size = int(mask.sum())

    def arrays(self) -> dict[str, np.ndarray]:
        """Every column, cut to the length of the table."""
        return {name: self[name] for name in self._columns}

    @classmethod
    def of(cls, columns: dict[str, Column], arrays: dict[str, np.ndarray]) -> "Table":
        """The table that ``arrays()`` was taken from."""
        table = cls(columns)
        table.append(arrays)
        return table


_TABLES = {"people": PEOPLE, "accounts": ACCOUNTS, "products": PRODUCTS, "clicks": CLICKS}
_COUNTERS = ("next_day", "turns", "orders", "order_lines", "refunds", "consents")


@dataclass
class State:
    """Everything that one day hands on to the next."""

    people: Table = field(default_factory=lambda: Table(PEOPLE))
    accounts: Table = field(default_factory=lambda: Table(ACCOUNTS))
    products: Table = field(default_factory=lambda: Table(PRODUCTS))
    clicks: Table = field(default_factory=lambda: Table(CLICKS))
    campaigns: list[str] = field(default_factory=list)  # of mails that others sent: source, medium, name
    next_day: int = 0
    turns: int = 0  # how often a day was played on
    orders: int = 0
    order_lines: int = 0
    refunds: int = 0
    consents: int = 0

    def numbers(self, counter: str, count: int) -> np.ndarray:
        """The next ``count`` numbers of a counter."""
        first = getattr(self, counter) + 1
        setattr(self, counter, first + count - 1)
        return np.arange(first, first + count)

    def dump(self) -> bytes:
        """The state as an uncompressed npz file without pickles."""
        sink = io.BytesIO()
        self.write(sink)
        return sink.getvalue()

    def write(self, sink: BinaryIO) -> None:
        """What ``dump`` gives, into a file."""
        arrays = {
            f"{name}.{column}": array for name in _TABLES for column, array in getattr(self, name).arrays().items()
        }
        arrays["campaigns"] = np.array(self.campaigns, dtype=np.str_)
        arrays["counters"] = np.array([getattr(self, name) for name in _COUNTERS], dtype=np.int64)
        np.savez(sink, **arrays)

    @classmethod
    def load(cls, content: bytes) -> "State":
        """The state that ``dump`` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            tables = {
                name: Table.of(columns, {column: arrays[f"{name}.{column}"] for column in columns})
                for name, columns in _TABLES.items()
            }
            campaigns = arrays["campaigns"].tolist()
            counters = dict(zip(_COUNTERS, arrays["counters"].tolist(), strict=True))
        return cls(**tables, campaigns=campaigns, **counters)

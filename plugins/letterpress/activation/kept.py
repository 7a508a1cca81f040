"""What a destination's client keeps between runs, such as a token that one may not ask for often; sealed."""

from collections.abc import Iterator, MutableMapping

import sqlalchemy as sa

from letterpress.activation import stores
from letterpress.activation.seal import Seal
from letterpress.activation.stores import KEPT


class Kept(MutableMapping[str, str]):
    """Names to values in the operational stores; each access is a transaction of its own."""

    def __init__(self, engine: sa.Engine, seal: Seal, destination: str):
        self._engine, self._seal, self._destination = engine, seal, destination

    def __getitem__(self, name: str) -> str:
        with stores.reading(self._engine) as connection:
            found = connection.scalar(sa.select(KEPT.c.sealed).where(self._is(name)))
        if found is None:
            raise KeyError(name)
        return self._seal.open(found).decode()

    def __setitem__(self, name: str, value: str) -> None:
        row = {"destination": self._destination, "name": name, "sealed": self._seal.seal(value.encode())}
        with stores.writing(self._engine) as connection:
            stores.upsert(connection, KEPT, [row])

    def __delitem__(self, name: str) -> None:
        with stores.writing(self._engine) as connection:
            connection.execute(sa.delete(KEPT).where(self._is(name)))

    def __iter__(self) -> Iterator[str]:
        with stores.reading(self._engine) as connection:
            query = sa.select(KEPT.c.name).where(KEPT.c.destination == self._destination).order_by(KEPT.c.name)
            return iter([row[0] for row in connection.execute(query)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _is(self, name: str) -> sa.ColumnElement[bool]:
        return sa.and_(KEPT.c.destination == self._destination, KEPT.c.name == name)

"""What destinations need of Airflow and of the secrets: their connections, and the key of all hashes."""

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from letterpress import storage
from letterpress.settings import settings

if TYPE_CHECKING:
    from letterpress.activation.destinations import Connection, Destination


def connection_of(where: "Destination") -> "Connection":
    """A destination's address and keys from its Airflow Connection.

    The extra may hold ``base_url`` where host and port do not make the address (a folder, an object store),
    ``smtp_host`` and ``smtp_port``, and whatever else the destination's module reads. Raises ConfigurationError
    with file, line and remedy where Airflow does not know the connection.
    """
    from letterpress.activation.destinations import Connection, missing_connection

    try:
        found = BaseHook.get_connection(where.connection)
    except AirflowNotFoundException:
        raise missing_connection(where) from None
    extra = found.extra_dejson
    host = found.host or ""
    if "://" not in host:
        host = f"{found.schema or found.conn_type or 'http'}://{host}"
    return Connection(
        base_url=extra.get("base_url") or (f"{host}:{found.port}" if found.port else host),
        token=found.password or "",
        smtp_host=extra.get("smtp_host", found.host),
        smtp_port=int(extra.get("smtp_port", settings().smtp_port)),
        login=found.login,
        extra=extra,
    )


def identity_key() -> bytes:
    """The key of person ids and of the stores' hashes, of which the ledger's seal is derived."""
    return storage.read_bytes(storage.join(settings().secrets, "identity_key")).strip()

"""Signing requests to Marketing Cloud: OAuth with client credentials, one token for all threads."""

import hashlib
import threading
from collections.abc import Iterator

import httpx
import orjson

from letterpress.activation.destinations import pace
from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.http import JsonApi, masked
from letterpress.activation.destinations.parts.salesforce.errors import explain
from letterpress.activation.destinations.spec import DestinationError, Endpoint, Limit

EARLY = 60.0  # seconds before a token's end at which the next one is asked for
# One token each 20 minutes is what the vendor asks for; it lives for 18, and a refused one has to be replaced.
ENDPOINTS = {"token": Endpoint(limits=(Limit(4, 1_200),))}


class Token(httpx.Auth):
    """Signs with an access token that is kept, over runs too, until shortly before its end or until it is refused."""

    def __init__(self, connection: Connection):
        address = connection.extra.get("auth_url") or connection.base_url.replace(".rest.", ".auth.")
        address = address.rstrip("/").removesuffix("/v2/token")
        self.api = JsonApi("salesforce", Connection(address, ""), ENDPOINTS, explain=explain)
        self._body = {
            "grant_type": "client_credentials",
            "client_id": connection.login,
            "client_secret": connection.token,
        }
        if connection.extra.get("account_id"):
            self._body["account_id"] = str(connection.extra["account_id"])
        self._lock, self._kept = threading.Lock(), connection.kept
        self._name = "token of " + hashlib.sha256(f"{address}\n{connection.login}".encode()).hexdigest()[:16]

    def sync_auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        """Sign the request; where the token is refused, once more with another."""
        # The vendor's gateway takes no plus sign for a blank, and everybody writes the dollar of $filter as it is.
        query = request.url.query.replace(b"+", b"%20").replace(b"%24", b"$")
        request.url = request.url.copy_with(query=query or None)
        token = self._current(refused=None)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {self._current(refused=token)}"
            yield request

    def _current(self, refused: str | None) -> str:
        with self._lock:
            found = orjson.loads(self._kept.get(self._name, "null"))
            if found and found["token"] != refused and pace.since_1970() < found["until"]:
                return found["token"]
            answer = self.api.post("token", "/v2/token", self._body, expected=(400, 401, 403)) or {}
            if "access_token" not in answer:
                code = masked(str(answer.get("error") or "a refusal"))
                raise DestinationError(
                    f"salesforce: expected an access token, found {code}; next step: check the connection's "
                    "credentials: login (client id), password (client secret), extra auth_url and account_id"
                )
            until = pace.since_1970() + max(0.0, answer["expires_in"] - EARLY)
            self._kept[self._name] = orjson.dumps({"token": answer["access_token"], "until": until}).decode()
            return answer["access_token"]

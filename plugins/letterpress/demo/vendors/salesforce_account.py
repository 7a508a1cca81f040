"""The account behind Marketing Cloud's stand-in: data extensions, queued work, and what people do."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from letterpress.demo.vendors import salesforce_extensions as extensions
from letterpress.demo.vendors.salesforce_extensions import Column
from letterpress.demo.vendors.standin import StandIn


class Account(StandIn):
    """``token`` is the client secret. Two data extensions and a list are there; tests make others."""

    name = "salesforce"

    def __init__(self, *given: Any, client_id: str = "letterpress", account_id: str = "510000001", **named: Any):
        super().__init__(*given, **named)
        self.client_id, self.account_id = client_id, account_id
        if not self.documents.kind("extensions"):
            self.create_extension(extensions.PROFILES, extensions.PROFILE_COLUMNS)
            self.create_extension(extensions.SUPPRESSIONS, extensions.SUPPRESSION_COLUMNS)
            for key in extensions.LISTS:
                self.create_extension(key, extensions.LIST_COLUMNS)
            self.documents.commit()

    def create_extension(self, key: str, columns: Mapping[str, Column], *, is_sendable: bool = True) -> None:
        """What the account's owner does in Contact Builder."""
        identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, key))
        self.documents.kind("extensions")[key] = {
            "id": identifier,
            "isSendable": is_sendable,
            "columns": extensions.described(columns),
        }

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The rows of a data extension, as they were written."""
        with self._lock:
            self._work()
            return list(self.documents.kind(f"rows:{key}").values())

    def status_of(self, contact: str) -> str:
        """A subscriber's status in All Subscribers, which data extensions do not change."""
        return self.documents.kind("subscribers").get(contact, "Active")

    def unsubscribe(self, email: str) -> None:
        """Somebody unsubscribes, and the account's query writes it into the suppression extension."""
        self._suppress(email, "unsubscribed", "Unsubscribed")

    def bounce(self, email: str) -> None:
        """A mailbox is dead."""
        self._suppress(email, "bounced", "Held")

    def complain(self, email: str) -> None:
        """Somebody calls a message spam."""
        self._suppress(email, "complained", "Unsubscribed")

    def _suppress(self, email: str, reason: str, status: str) -> None:
        with self._lock:
            people = [
                row
                for row in self.rows(extensions.PROFILES)
                if (row.get("EmailAddress") or "").lower() == email.lower()
            ]
            if not people:
                raise KeyError("expected somebody with this address in the extension of profiles, found nobody")
            for person in people:
                row = {"ContactKey": person["ContactKey"], "Source": "marketing_cloud", "EmailAddress": email}
                instant = datetime.fromtimestamp(self.clock(), UTC).isoformat()
                row |= {"Reason": reason, "SuppressedAt": instant, "IsSuppressed": True}
                self._write(extensions.SUPPRESSIONS, row)
                self.documents.kind("subscribers")[person["ContactKey"]] = status
            self.documents.commit()

    def expire_tokens(self) -> None:
        """All tokens end now."""
        with self._lock:
            for token in list(self.documents.kind("tokens")):
                self.documents.kind("tokens")[token] = 0.0

    def _work(self) -> None:
        """Carry out what is due, in the order in which it came."""
        due = self.clock() - self.job_seconds
        for identifier, request in self.documents.kind("requests").items():
            if request["results"] is None and request["called"] <= due:
                results = [self._write(request["extension"], item) for item in request["items"]]
                self.documents.kind("requests")[identifier] = {**request, "items": [], "results": results}
        for identifier, operation in self.documents.kind("operations").items():
            if not operation["done"] and operation["called"] <= due:
                self._forget(set(operation["values"]))
                self.documents.kind("operations")[identifier] = {**operation, "done": True}

    def _write(self, key: str, item: Mapping[str, Any]) -> dict[str, Any]:
        columns, rows = self.documents.kind("extensions")[key]["columns"], self.documents.kind(f"rows:{key}")
        identity = extensions.row_key(columns, item)
        error = extensions.row_error(columns, item, is_new=identity not in rows)
        if error is not None:
            return {"errorCode": error[0], "message": error[1], "status": "Error"}
        rows[identity] = {**dict.fromkeys(columns), **rows.get(identity, {}), **item}
        return {"message": "", "status": "OK"}

    def _forget(self, contacts: set[str]) -> None:
        for key, extension in self.documents.kind("extensions").items():
            rows = self.documents.kind(f"rows:{key}")
            if extension["isSendable"]:
                for identity in [identity for identity, row in rows.items() if row["ContactKey"] in contacts]:
                    del rows[identity]
        for contact in contacts & set(self.documents.kind("subscribers")):
            del self.documents.kind("subscribers")[contact]

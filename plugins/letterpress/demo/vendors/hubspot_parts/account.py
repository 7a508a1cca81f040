"""What HubSpot's handlers share: the account's limits, and the form of a batch's answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from letterpress.demo.vendors.hubspot_parts.contacts import Contacts
from letterpress.demo.vendors.hubspot_parts.properties import iso
from letterpress.demo.vendors.standin import Answer, Refusal, StandIn

ACCOUNT = {"limits": ((100, 10.0), (250_000, 86_400.0)), "group": "account"}  # of a private app, free or starter plan
SEARCH = {"limits": ((5, 1.0),), "group": "search"}
KINDS = {"101": "Marketing information", "102": "Customer service", "103": "One to one"}


class Account(StandIn):
    """One account's state, for handlers."""

    contacts: Contacts

    def batch(self, results: Sequence[Any], errors: Sequence[Mapping[str, Any]] = (), status: int = 200) -> Answer:
        """207 where some of a batch was refused."""
        now = iso(self.clock())
        body = {"status": "COMPLETE", "results": list(results), "startedAt": now, "completedAt": now}
        if errors:
            body |= {"numErrors": len(errors), "errors": list(errors)}
        return Answer(207 if errors else status, body)

    def number(self, name: str) -> int:
        """The next one of its kind."""
        counters = self.documents.kind("counter")
        counters[name] = counters.get(name, 0) + 1
        return counters[name]

    def set_status(self, email: str, kind: str, status: str, **proof: str) -> dict[str, Any]:
        """Keep whether somebody wants a kind of mail."""
        statuses = self.documents.kind("status")
        found = {"status": status, **proof}
        statuses[email.lower()] = {**statuses.get(email.lower(), {}), kind: found}
        self.mark(email, **{f"hs_email_optout_{kind}": "true" if status == "NOT_SUBSCRIBED" else "false"})
        return found

    def mark(self, email: str, **values: str) -> None:
        """What HubSpot itself notes of a contact."""
        record = self.contacts.find(email, "email")
        if record:
            self.contacts.write(record, values)

    def forget(self, record: Mapping[str, Any]) -> None:
        """A record is away, and in no list."""
        self.contacts.remove(record)
        lists = self.documents.kind("list")
        for key, one in list(lists.items()):
            if one["members"].pop(record["id"], None) is not None:
                lists[key] = one


def entry(refusal: Refusal, context: Mapping[str, list[str]]) -> dict[str, Any]:
    """A refusal as it stands among the errors of a batch."""
    return {
        "status": "error",
        "category": refusal.code,
        "message": refusal.message,
        "context": dict(context),
        "errors": refusal.details.get("errors", []),
        "links": {},
    }

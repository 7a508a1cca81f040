"""How Klaviyo shows things: resources of JSON:API with their links."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from letterpress.demo.vendors import klaviyo_queries as queries
from letterpress.demo.vendors.klaviyo_people import TEXTS
from letterpress.demo.vendors.standin import Answer, Call

_SHOWN = (*TEXTS, "created", "updated", "last_event_date", "location", "properties")
_ADDITIONAL = ("subscriptions", "predictive_analytics")
_MARKETING = "subscriptions.email.marketing"


def one(call: Call, data: Any, status: int = 200) -> Answer:
    """An answer of one resource."""
    return Answer(status, {"data": data, "links": {"self": queries.link(call, call.url, call.query)}})


def collection(
    call: Call, items: Iterable[Any], shown: Callable[[Any], Any], *, size: int = 20, most: int = 100
) -> Answer:
    """An answer of one page."""
    found, links = queries.page(call, list(items), size=size, most=most)
    return Answer(200, {"data": [shown(item) for item in found], "links": links})


def resource(call: Call, kind: str, name: str, attributes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A resource with the address that it has."""
    links = {"self": queries.link(call, f"/api/{kind}s/{name}")}
    return {"type": kind, "id": name, "attributes": attributes, "links": links, **more}


def profile(call: Call, found: Mapping[str, Any]) -> dict[str, Any]:
    """A profile: the fields that were asked for, and the additional ones only where they were."""
    additional = queries.names(call, "additional-fields[profile]", _ADDITIONAL) or set()
    location = {f"location.{name}" for name in ("address1", "address2", "city", "country", "ip", "latitude")}
    location |= {f"location.{name}" for name in ("longitude", "region", "timezone", "zip")}
    attributes = {name: found[name] for name in _SHOWN}
    if "subscriptions" in additional:
        attributes["subscriptions"] = {"email": {"marketing": _marketing(found["marketing"])}}
    if "predictive_analytics" in additional:
        attributes["predictive_analytics"] = {}
    fields = queries.names(call, "fields[profile]", {*_SHOWN, "id", *_ADDITIONAL, *location, _MARKETING})
    if fields is not None:
        wanted = {name.partition(".")[0] for name in fields}
        attributes = {name: value for name, value in attributes.items() if name in wanted}
    return resource(call, "profile", found["id"], attributes)


def event(call: Call, found: Mapping[str, Any], metric_id: str) -> dict[str, Any]:
    """An event, with whom and what it is of."""
    links = {
        name: {
            "self": queries.link(call, f"/api/events/{found['id']}/relationships/{name}"),
            "related": queries.link(call, f"/api/events/{found['id']}/{name}"),
        }
        for name in ("profile", "metric")
    }
    attributes = {
        "timestamp": int(datetime.fromisoformat(found["datetime"]).timestamp()),
        "datetime": found["datetime"],
        "event_properties": found["properties"],
        "uuid": found["id"],
    }
    relationships = {
        "profile": {"data": {"type": "profile", "id": found["profile"]}, "links": links["profile"]},
        "metric": {"data": {"type": "metric", "id": metric_id}, "links": links["metric"]},
    }
    return resource(call, "event", found["id"], attributes, relationships=relationships)


def metric(call: Call, found: Mapping[str, Any]) -> dict[str, Any]:
    """A kind of event; all of them are Klaviyo's own here."""
    attributes = {
        "name": found["name"],
        "created": found["created"],
        "updated": found["created"],
        "integration": {"object": "integration", "id": "0rG4eQ", "name": "Klaviyo", "category": "Internal"},
    }
    return resource(call, "metric", found["id"], attributes)


def _marketing(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **found,
        "can_receive_email_marketing": not found["suppression"],
        "method_detail": "",
        "double_optin": False,
    }

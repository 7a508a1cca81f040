"""An OpenAPI document of the operations that the stand-in has, made from HubSpot's own SDK.

HubSpot's specification may not be reused; its Python SDK (Apache-2.0) is generated from it. Paths, fields, types,
choices and what is required are read from the SDK; caps and what it does not have (email events) are added here.
"""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

MODELS = {
    "contacts": "hubspot.crm.contacts",
    "properties": "hubspot.crm.properties",
    "lists": "hubspot.crm.lists",
    "preferences": "hubspot.communication_preferences",
}
CALLS = (
    ("contacts", "BatchApi", "upsert"),
    ("contacts", "BatchApi", "update"),
    ("contacts", "BatchApi", "read"),
    ("contacts", "BatchApi", "archive"),
    ("contacts", "BasicApi", "update"),
    ("contacts", "BasicApi", "merge"),
    ("contacts", "BasicApi", "purge"),
    ("contacts", "SearchApi", "do_search"),
    ("properties", "CoreApi", "get_all"),
    ("properties", "CoreApi", "get_by_name"),
    ("properties", "CoreApi", "update"),
    ("properties", "BatchApi", "create"),
    ("lists", "ListsApi", "get_by_id"),
    ("lists", "MembershipsApi", "get_page"),
    ("lists", "MembershipsApi", "add_and_remove"),
    ("preferences", "DefinitionApi", "get_page"),
    ("preferences", "StatusApi", "get_email_status"),
    ("preferences", "StatusApi", "subscribe"),
    ("preferences", "StatusApi", "unsubscribe"),
)
# By model and field: how many a request may hold. The first is documented for every batch, filters with the search.
CAPS = {
    ("BatchInputSimplePublicObjectBatchInputUpsert", "inputs"): 100,
    ("BatchInputSimplePublicObjectBatchInput", "inputs"): 100,
    ("BatchInputSimplePublicObjectId", "inputs"): 100,
    ("BatchReadInputSimplePublicObjectId", "inputs"): 100,
    ("BatchInputPropertyCreate", "inputs"): 100,
    ("MembershipChangeRequest", "recordIdsToAdd"): 1_000,
    ("MembershipChangeRequest", "recordIdsToRemove"): 1_000,
    ("PublicObjectSearchRequest", "filterGroups"): 5,
    ("PublicObjectSearchRequest", "sorts"): 1,
    ("FilterGroup", "filters"): 6,
}
EVENTS = "/email/public/v1/events"
EVENT = {
    "type": "object",
    "required": ["id", "created", "type", "recipient", "portalId", "appId", "appName", "emailCampaignId"],
    "additionalProperties": False,
    "properties": {
        **{name: {"type": "string"} for name in ("id", "type", "recipient", "appName", "url")},
        **{name: {"type": "integer"} for name in ("created", "portalId", "appId", "emailCampaignId")},
    },
}
EVENT_PAGE = {
    "type": "object",
    "required": ["events", "hasMore", "offset"],
    "additionalProperties": False,
    "properties": {
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/EmailEvent"}},
        "hasMore": {"type": "boolean"},
        "offset": {"type": "string"},
    },
}


@cache
def document() -> dict[str, Any]:
    """The whole of it."""
    schemas: dict[str, Any] = {"EmailEvent": EVENT, "EmailEvents": EVENT_PAGE}
    refusal = {"description": "refused", "content": _json(_reference("contacts", "Error", schemas))}
    paths: dict[str, Any] = {}
    for package, api, call in CALLS:
        method, path, operation = _operation(package, api, call, schemas)
        operation["responses"]["4XX"] = refusal
        paths.setdefault(path, {})[method] = operation
    parameters = [
        {"name": name, "in": "query", "schema": {"type": kind}}
        for name, kind in (("eventType", "string"), ("startTimestamp", "integer"), ("limit", "integer"))
    ]
    answers = {"200": {"description": "", "content": _json({"$ref": "#/components/schemas/EmailEvents"})}}
    paths[EVENTS] = {"get": {"parameters": parameters, "responses": {**answers, "4XX": refusal}}}
    schemas["contacts_Error"]["additionalProperties"] = True  # a status, and the policy of a 429
    return {
        "openapi": "3.0.3",
        "info": {"title": "HubSpot, as its SDK knows it", "version": "12.0.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def operations() -> list[tuple[str, str]]:
    """Methods and path templates."""
    return [(method, path) for path, item in document()["paths"].items() for method in item]


def _operation(package: str, api: str, call: str, schemas: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    source = inspect.getsource(getattr(getattr(import_module(MODELS[package]), api), f"{call}_with_http_info"))
    path, method = re.search(r'call_api\(\s*"([^"]+)",\s*"([A-Z]+)"', source).groups()
    answers = re.findall(r'^ +(\d{3}): "(\w+)",$', source, re.MULTILINE)
    body = re.search(r'body_params = local_var_params\["(\w+)"\]', source)
    names = re.findall(r'query_params\.append\(\("(\w+)"', source)
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    for name in re.findall(r"{(\w+)}", path):
        parameters.append({"name": name, "in": "path", "required": True, "schema": {"type": "string"}})
    operation: dict[str, Any] = {
        "parameters": parameters,
        "responses": {
            status: {"description": "", "content": _json(_reference(package, model, schemas))}
            for status, model in answers
        }
        or {"204": {"description": "done"}},
    }
    if body:
        models = import_module(f"{MODELS[package]}.models")
        model = next(name for name in dir(models) if _snake(name) == body.group(1))
        operation["requestBody"] = {
            "required": True,
            "content": _json(_reference(package, model, schemas, is_ours=True)),
        }
    return method.lower(), path, operation


def _reference(package: str, model: str, schemas: dict[str, Any], *, is_ours: bool = False) -> dict[str, str]:
    """A model as a component; ``is_ours`` where a request has it: answers may hold no value for a property."""
    key = f"{package}_{model}"
    if key not in schemas:
        kind = getattr(import_module(f"{MODELS[package]}.models"), model)
        source = inspect.getsource(kind)
        schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
        schemas[key] = schema  # before its fields: models refer to each other
        required = set(re.findall(r"client_side_validation and (\w+) is None", source))
        schema["required"] = [theirs for ours, theirs in kind.attribute_map.items() if ours in required]
        choices = dict(_choices(source))
        for ours, text in kind.openapi_types.items():
            name = kind.attribute_map[ours]
            field = _type(package, text, schemas, is_ours)
            if ours in choices:
                field["enum"] = choices[ours]
            if (model, name) in CAPS:
                field["maxItems"] = CAPS[model, name]
            schema["properties"][name] = field
    return {"$ref": f"#/components/schemas/{key}"}


def _choices(source: str) -> Iterator[tuple[str, list[str]]]:
    """By field, what it may be."""
    for setter in re.split(r"\.setter\n", source)[1:]:
        found = re.search(r"def (\w+)\(self.*?allowed_values = \[(.*?)\]", setter, re.DOTALL)
        if found:
            yield found.group(1), re.findall(r'"(\w+)"', found.group(2))


def _type(package: str, text: str, schemas: dict[str, Any], is_ours: bool) -> dict[str, Any]:
    plain = {"str": "string", "int": "integer", "bool": "boolean", "object": "object"}
    if text in plain:
        return {"type": plain[text]}
    if text == "datetime":
        return {"type": "string", "format": "date-time"}
    if found := re.fullmatch(r"list\[(.+)\]", text):
        return {"type": "array", "items": _type(package, found.group(1), schemas, is_ours)}
    if found := re.fullmatch(r"dict\[str, (.+)\]", text):
        values = _type(package, found.group(1), schemas, is_ours)
        if values == {"type": "string"} and not is_ours:
            values = {"type": "string", "nullable": True}
        return {"type": "object", "additionalProperties": values}
    if text.startswith("PublicPropertyAssociationFilterBranch"):
        return {"type": "object"}  # dynamic lists' rules, of which the stand-in has none
    return _reference(package, text, schemas, is_ours=is_ours)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}

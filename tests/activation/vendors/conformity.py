"""A stand-in's answers to whatever its vendor's OpenAPI document allows, and to what it forbids, found by schemathesis.

``check`` calls the operations that a stand-in implements with generated requests: the same ones every time.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation

ANSWERS = ("not_a_server_error", "status_code_conformance", "response_schema_conformance")
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def check(
    app_url: str,
    document: dict[str, Any],
    operations: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    examples: int = 20,
    *,
    identifiers: Mapping[str, Mapping[str, str]] | None = None,
    rejects_bodies: bool = True,
) -> None:
    """Fail with schemathesis' text where a stand-in at ``app_url`` does not do what the document says.

    ``operations`` are methods and path templates of the document, ``headers`` the right credentials; ``examples``
    requests are made to each. Found are server errors, statuses that the document does not have (where it has no
    refusals at all, any is right) and answers that do not fit the schema. With ``rejects_bodies`` as many requests
    with a body that the schema forbids have to be refused. ``identifiers`` are path parameters by template that
    exist at the stand-in, which should have no limits (``has_limits=False``).
    """
    load_all_checks()
    schema = schemathesis.openapi.from_dict(_reduced(document, operations), config=SchemathesisConfig())
    answers = [CHECKS.get_one(name) for name in ANSWERS]
    rejection = CHECKS.get_one("negative_data_rejection")
    found = []
    for result in schema.get_all_operations():
        operation = result.ok()
        known = dict((identifiers or {}).get(operation.path, {}))
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            is_negative = mode is GenerationMode.NEGATIVE
            if is_negative and not (rejects_bodies and operation.body):
                continue
            given_parts = {"path_parameters": known} if known else {}
            strategy = operation.as_strategy(generation_mode=mode, **given_parts)
            checks = [*answers, rejection] if is_negative else answers
            found += _failures(strategy, app_url, headers, checks, examples, only_bodies=is_negative)
    assert not found, "\n\n".join(found)


def _failures(
    strategy: Any, app_url: str, headers: Mapping[str, str], checks: list[Any], examples: int, *, only_bodies: bool
) -> list[str]:
    found: dict[str, str] = {}  # by title: one example of each kind is enough
    calls = 0

    # No shrinking: it takes minutes where bodies are large, and the first request tells enough.
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def call(case: Any) -> None:
        nonlocal calls
        if only_bodies and not _has_a_forbidden_body(case):
            return
        calls += 1
        try:
            case.call_and_validate(base_url=app_url, headers=dict(headers), checks=checks)
        except FailureGroup as failures:
            for failure in failures.exceptions:
                found.setdefault(
                    f"{case.method} {case.operation.path}: {failure.title}",
                    f"{failure}\n{case.as_curl_command()[:1_000]}",
                )

    call()
    if not calls:
        found["none"] = "expected at least one request, found none; the document allows nothing to forbid"
    return [f"{title}\n{text}" for title, text in found.items()]


def _has_a_forbidden_body(case: Any) -> bool:
    """Whether the body is what breaks the schema: unknown parameters and headers are the vendor's to ignore."""
    component = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    return component is not None and component.mode is GenerationMode.NEGATIVE


def _reduced(document: dict[str, Any], operations: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The document of these operations alone, with the components that they need."""
    paths: dict[str, Any] = {}
    for method, template in operations:
        item = document["paths"][template]
        kept = paths.setdefault(template, {name: part for name, part in item.items() if name not in METHODS})
        operation = copy.deepcopy(item[method.lower()])
        if not any(re.fullmatch(r"4..|default", status) for status in operation["responses"]):
            operation["responses"]["4XX"] = {"description": "not documented"}
        kept[method.lower()] = operation
    whole = {name: part for name, part in document.items() if name not in ("paths", "components", "servers", "tags")}
    components: dict[str, Any] = {}
    pending = list(_references(paths))
    while pending:
        kind, name = pending.pop()
        if name not in components.setdefault(kind, {}):
            components[kind][name] = document["components"][kind][name]
            pending += _references(components[kind][name])
    if "securitySchemes" in document.get("components", {}):
        components["securitySchemes"] = document["components"]["securitySchemes"]
    return {**whole, "paths": paths, "components": components}


def _references(node: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of every component that a part of the document refers to."""
    return iter(re.findall(r'"#/components/(\w+)/([^"/]+)', json.dumps(node)))

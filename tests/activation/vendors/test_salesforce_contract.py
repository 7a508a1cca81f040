"""The stand-in of Marketing Cloud against the document of what is called of it (the vendor publishes none)."""

import json
from datetime import UTC, datetime

import pytest
from conformity import check
from salesforce_line import ATTRIBUTES, DOCUMENT, LIST, PROFILES, Line, line, person

from letterpress.activation.destinations.salesforce import ENDPOINTS
from letterpress.activation.destinations.spec import Operation, Results, Row
from letterpress.demo.vendors.specification import Specification

WRITES = [
    ("PUT", f"/data/v1/async/dataextensions/key:{PROFILES}/rows", {"items": [{"ContactKey": "1", "IsActive": True}]}),
    (
        "POST",
        "/contacts/v1/contacts/actions/delete?type=keys",
        {"values": ["1"], "DeleteOperationType": "ContactAndAttributes"},
    ),
    (
        "POST",
        "/v2/token",
        {"grant_type": "client_credentials", "client_id": "letterpress", "client_secret": "vendor-test-token"},
    ),
]


def everything(sfmc: Line) -> None:
    """Every operation and every reading that the module has, refusals among them."""
    people = [person(number)._replace(consented_at=datetime(2026, 11, 20, tzinfo=UTC)) for number in range(1, 61)]
    sfmc.client.prepare(ATTRIBUTES, [LIST])
    bad = person(61, EmailAddress="nobody")
    assert set(sfmc.settle(Operation.UPSERT, [*people, bad]).errors) == {"customer-61"}
    for operation in ENDPOINTS:
        if isinstance(operation, Operation):
            assert sfmc.settle(operation, people, LIST) == Results()
    sfmc.vendor.app.complain("anna1@example.com")
    assert len(sfmc.client.suppressions(None)[0]) == 1
    assert len(sfmc.client.read(people, list(ATTRIBUTES))) == 60
    sfmc.vendor.app.documents.kind(f"rows:{PROFILES}").update(
        {str(number): {"ContactKey": str(number), "IsActive": True} for number in range(6_000)}
    )
    assert len(sfmc.client.read([Row("customer-1")], [])) == 1  # by a filter
    assert len(sfmc.client.read([Row(str(number)) for number in range(5_000)], [])) == 5_000  # by pages


def test_every_request_and_every_answer_fits_the_document(clock):
    with line(clock, is_held=True) as sfmc:
        everything(sfmc)
        document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
        specification = Specification(document)
        called = {
            specification.find(method, url) and specification.find(method, url)[0]
            for method, url, _ in sfmc.vendor.app.calls
        }
        assert called == set(document["paths"])  # the document has what is called, and nothing else is called
        assert sfmc.vendor.app.complaints == []


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=["rows", "deletion", "token"])
def test_what_the_document_forbids_is_refused(clock, method, path, body):
    with line(clock, is_held=True, has_limits=False) as sfmc:
        assert sfmc.call(method, path, body).is_success
        wrong = [{**body, "unknown": 1}, *({**body, name: 7} for name in body), {}, [], 7]
        wrong += [{name: value for name, value in body.items() if name != left_out} for left_out in body]
        for one in wrong:
            assert sfmc.call(method, path, one).status_code == 400, one
            url = path.partition("?")[0]
            assert sfmc.vendor.app.specification.request_errors(method, url, one), one


def test_the_stand_in_refuses_the_same_without_the_document(clock):
    with line(clock, has_limits=False) as sfmc:
        for method, path, body in WRITES:
            for one in [{**body, "unknown": 1}, *({**body, name: 7} for name in body), {}, [], 7]:
                assert sfmc.call(method, path, one).status_code in (400, 401), one


@pytest.mark.slow
def test_requests_made_up_from_the_document_find_no_fault_in_the_stand_in(clock):
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    operations = [(method, path) for path, item in document["paths"].items() for method in item]
    with line(clock, has_limits=False, job_seconds=0.0) as sfmc:
        sfmc.settle(Operation.UPSERT, [person(1)])
        sfmc.client.read([person(1)], [])
        job = sfmc.client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
        documents = sfmc.vendor.app.documents
        known = {
            "/data/v1/async/dataextensions/key:{key}/rows": {"key": PROFILES},
            "/data/v1/async/{requestId}/status": {"requestId": job.job_id},
            "/data/v1/async/{requestId}/results": {"requestId": job.job_id},
            "/data/v1/customObjects/{id}/fields": {"id": documents.kind("extensions")[PROFILES]["id"]},
            "/data/v1/customobjectdata/key/{key}/rowset": {"key": PROFILES},
            "/data/v1/customobjectdata/token/{token}/rowset": {"token": next(iter(documents.kind("rowsets")))},
        }
        headers = {"Authorization": f"Bearer {sfmc.token()}"}
        check(sfmc.vendor.base_url, document, operations, headers, examples=20)
        check(sfmc.vendor.base_url, document, operations, headers, examples=20, identifiers=known)


def test_an_account_outlives_the_process(clock, tmp_path):
    with line(clock, folder=tmp_path) as sfmc:
        sfmc.settle(Operation.UPSERT, [person(1, FirstName="Anna")])
        before = sfmc.state()
    with line(clock, folder=tmp_path) as sfmc:
        assert sfmc.state() == before

"""Marketing Cloud as an installed package meets it: tokens, rows written by queued requests, contact deletion.

What the vendor's documents leave open is stricter here than there: an unknown column, a value that would have to be
converted and an unknown parameter are refused. How it refuses an unknown column is not documented.
"""

import hmac
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from letterpress.demo.vendors import salesforce_extensions as extensions
from letterpress.demo.vendors.salesforce_account import Account
from letterpress.demo.vendors.standin import Answer, Call, Refusal, route

ROWS, BYTES, CONTACTS, PAGE, RESULTS, FOUND = 32_000, 5_900_000, 50_000, 2_500, 50, 25
TOKEN_SECONDS = 1_079
LIMITS = ((2_000, 60.0),)
DOCUMENTATION = "https://developer.salesforce.com/docs/marketing/marketing-cloud/guide/error-handling.html"
OPEN = ("/v2/token",)


class Salesforce(Account):
    """The REST interface of an account."""

    def authorise(self, call: Call) -> None:
        """A token that was given out and has not ended."""
        if call.url in OPEN:
            return
        given = call.headers.get("authorization", "").removeprefix("Bearer ")
        if self.documents.kind("tokens").get(given, 0.0) <= self.clock():
            raise Refusal(401, "0", "Not Authorized")

    def refuse(self, refusal: Refusal) -> Answer:
        """OAuth's form, the asynchronous interface's, or that of the rest."""
        if "is_oauth" in refusal.details:
            body: dict[str, Any] = {"error": refusal.code, "error_description": refusal.message}
            return Answer(
                refusal.status, {**body, "error_uri": "https://developer.salesforce.com/docs"}, refusal.headers
            )
        if "is_async" in refusal.details:
            said = _result_message(refusal.code, refusal.message)
            return Answer(refusal.status, {"requestId": str(uuid.uuid4()), "resultMessages": [said]}, refusal.headers)
        code = int(refusal.code) if refusal.code.isdigit() else 10000
        body = {"message": refusal.message, "errorcode": code, "documentation": DOCUMENTATION}
        if refusal.status == 429:
            body["retryAfter"] = int(refusal.headers["Retry-After"])
        return Answer(refusal.status, body, refusal.headers)

    def throttle(self, wait: float, call: Call) -> Refusal:
        """Error 50100, with ``Retry-After``."""
        return Refusal(429, "50100", "Rate limit exceeded", super().throttle(wait, call).headers)

    def answer(self, method: str, url: str, query: str, headers: Mapping[str, str], content: bytes) -> Answer:
        """As everywhere; a plus sign in a query is a plus sign to the vendor's gateway."""
        with self._lock:
            self._work()
            return super().answer(method, url, query.replace("+", "%2B"), headers, content)

    @route("POST", "/v2/token", limits=((4, 1_200.0),))
    def _token_for(self, call: Call) -> Answer:
        body = _body(call, {"grant_type", "client_id", "client_secret"}, {"account_id", "scope"})
        if body["grant_type"] != "client_credentials":
            raise Refusal(400, "unsupported_grant_type", "The grant type is not supported.", is_oauth=True)
        if body["client_id"] != self.client_id:
            raise Refusal(401, "invalid_client", "Invalid client ID.", is_oauth=True)
        if not hmac.compare_digest(str(body["client_secret"]).encode(), self.token.encode()):
            raise Refusal(401, "invalid_client", "Invalid client secret.", is_oauth=True)
        if str(body.get("account_id", self.account_id)) != self.account_id:
            raise Refusal(400, "invalid_request", "The account is not the package's.", is_oauth=True)
        token = uuid.uuid4().hex
        self.documents.kind("tokens")[token] = self.clock() + TOKEN_SECONDS
        address = f"http://{call.headers.get('host', '127.0.0.1')}/"
        return Answer(
            200,
            {
                "access_token": token,
                "expires_in": TOKEN_SECONDS,
                "token_type": "Bearer",
                "rest_instance_url": address,
                "soap_instance_url": address,
                "scope": "data_extensions_read data_extensions_write list_and_subscribers_read",
            },
        )

    @route("PUT", "/data/v1/async/dataextensions/key:{key}/rows", limits=LIMITS, group="rest")
    def _queue_rows(self, call: Call) -> Answer:
        items = _body(call, {"items"})["items"]
        extension = self.documents.kind("extensions").get(call.path["key"])
        if extension is None:
            message = (
                f"Failed to resolve the Custom Object from the provided reference [Id: , Key: {call.path['key']}]."
            )
            raise Refusal(400, "CustomObjectNotFound", message, is_async=True)
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) and item for item in items):
            raise Refusal(400, "10001", "items: expected an array of objects")
        if len(items) > ROWS:
            raise Refusal(400, "TooManyItems", f"items: expected at most {ROWS}, found {len(items)}", is_async=True)
        for item in items:
            unknown = next((name for name in item if name not in extension["columns"]), None)
            if unknown is not None:
                raise Refusal(
                    400, "ColumnNotFound", f"The column '{unknown}' is not in the data extension.", is_async=True
                )
            if any(isinstance(value, dict | list) for value in item.values()):
                raise Refusal(400, "10004", "Serialization error: expected a value for each column")
        identifier = str(uuid.uuid4())
        waiting = {"extension": call.path["key"], "items": items, "called": self.clock(), "results": None}
        self.documents.kind("requests")[identifier] = waiting
        self._work()
        return Answer(202, {"requestId": identifier, "resultMessages": []})

    @route("GET", "/data/v1/async/{request}/status", limits=LIMITS, group="rest")
    def _status(self, call: Call) -> Answer:
        found = self._request(call)
        if found is None:
            return self._not_found(call)
        is_done = found["results"] is not None
        has_errors = is_done and any(item["status"] == "Error" for item in found["results"])
        picked_up = found["called"] + self.job_seconds / 2
        state = "Complete" if is_done else "Executing" if self.clock() >= picked_up else "Pending"
        status = {
            "callDateTime": _instant(found["called"]),
            "completionDateTime": _instant(found["called"] + self.job_seconds) if is_done else None,
            "hasErrors": has_errors,
            "pickupDateTime": _instant(picked_up) if state != "Pending" else None,
            "requestStatus": state,
            "resultStatus": "Has Errors" if has_errors else "OK",
            "requestId": call.path["request"],
        }
        return Answer(200, {"status": status, "requestId": str(uuid.uuid4()), "resultMessages": []})

    @route("GET", "/data/v1/async/{request}/results", limits=LIMITS, group="rest")
    def _results(self, call: Call) -> Answer:
        found = self._request(call)
        if found is None:
            return self._not_found(call)
        number, results = _number(call, "page", 1), found["results"] or []
        page = {"page": number, "pageSize": RESULTS, "count": len(results), "requestId": str(uuid.uuid4())}
        items = results[(number - 1) * RESULTS : number * RESULTS]
        return Answer(200, {**page, "items": items, "resultMessages": []})

    @route("GET", "/data/v1/customObjects", limits=LIMITS, group="rest")
    def _search(self, call: Call) -> Answer:
        wanted = call.query.get("$search", "").lower()
        if not wanted:
            raise Refusal(400, "10002", "$search is a required parameter")
        found = [
            {"id": one["id"], "name": key, "key": key, "isSendable": one["isSendable"], "rowCount": len(self.rows(key))}
            for key, one in self.documents.kind("extensions").items()
            if wanted in key.lower()
        ]
        number = _number(call, "$page", 1)
        items = found[(number - 1) * FOUND : number * FOUND]
        return Answer(200, {"count": len(found), "page": number, "pageSize": FOUND, "links": {}, "items": items})

    @route("GET", "/data/v1/customObjects/{id}/fields", limits=LIMITS, group="rest")
    def _fields(self, call: Call) -> Answer:
        for extension in self.documents.kind("extensions").values():
            if extension["id"] == call.path["id"]:
                fields = [
                    {
                        "name": name,
                        "type": column["type"],
                        "length": column["length"],
                        "isNullable": column["is_nullable"],
                        "isPrimaryKey": column["is_key"],
                        "ordinal": ordinal,
                    }
                    for ordinal, (name, column) in enumerate(extension["columns"].items())
                ]
                return Answer(200, {"id": extension["id"], "fields": fields})
        raise Refusal(404, "30003", "The data extension cannot be retrieved.")

    @route("GET", "/data/v1/customobjectdata/key/{key}/rowset", limits=LIMITS, group="rest")
    def _rowset(self, call: Call) -> Answer:
        key = call.path["key"]
        extension = self.documents.kind("extensions").get(key)
        if extension is None:
            raise Refusal(404, "30003", f"The data extension cannot be retrieved for key: {key}")
        if set(call.query) - {"$filter", "$page", "$pageSize"}:
            raise Refusal(400, "10003", "a request parameter could not be resolved")
        size = _number(call, "$pageSize", PAGE)
        rows = extensions.matching(extension["columns"], self.rows(key), call.query.get("$filter"))
        if rows is None:
            raise Refusal(400, "10003", "request parameter $filter could not be resolved")
        if size > PAGE:
            raise Refusal(400, "10005", f"$pageSize: expected at most {PAGE}")
        token = str(uuid.uuid4())
        self.documents.kind("rowsets")[token] = {"key": key, "rows": rows, "size": size}
        return self._page(token, _number(call, "$page", 1))

    @route("GET", "/data/v1/customobjectdata/token/{token}/rowset", limits=LIMITS, group="rest")
    def _further_rows(self, call: Call) -> Answer:
        if call.path["token"] not in self.documents.kind("rowsets"):
            raise Refusal(404, "30003", "The rows cannot be retrieved for this token.")
        return self._page(call.path["token"], _number(call, "$page", 1))

    @route("POST", "/contacts/v1/contacts/actions/delete", limits=LIMITS, group="rest")
    def _delete_contacts(self, call: Call) -> Answer:
        if call.query.get("type") != "keys":
            raise Refusal(400, "10005", "type: expected keys")
        body = _body(call, {"values", "DeleteOperationType"})
        values = body["values"]
        if body["DeleteOperationType"] != "ContactAndAttributes":
            raise Refusal(400, "10005", "DeleteOperationType: expected ContactAndAttributes")
        if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
            raise Refusal(400, "10001", "values: expected an array of contact keys")
        if len(values) > CONTACTS:
            raise Refusal(400, "10005", f"values: expected at most {CONTACTS}")
        number = len(self.documents.kind("operations")) + 1
        self.documents.kind("operations")[str(number)] = {"values": values, "called": self.clock(), "done": False}
        self._work()
        said = {"operationInitiated": True, "operationID": number, "resultMessages": []}
        return Answer(
            200, {**said, "requestServiceMessageID": str(uuid.uuid4()), "serviceMessageID": str(uuid.uuid4())}
        )

    @route("GET", "/contacts/v1/contacts/actions/delete/status", limits=LIMITS, group="rest")
    def _deletion(self, call: Call) -> Answer:
        operation = self.documents.kind("operations").get(call.query.get("operationID", ""))
        if operation is None:
            raise Refusal(404, "30003", "The operation cannot be found.")
        is_suppressed = self.clock() >= operation["called"] + self.job_seconds / 2
        background = {
            "backgroundOperationID": 1,
            "createdDate": _instant(operation["called"]),
            "backgroundOperationStatusID": "Completed" if operation["done"] else "Processing",
        }
        answer = {
            "operation": {
                "deleteType": "ContactAndAttributes",
                "expectedListCount": len(operation["values"]),
                "errorsOccurredInBatchProcess": False,
                "operationID": int(call.query["operationID"]),
                "status": "Completed" if is_suppressed else "Pending",
                "createdDate": _instant(operation["called"]),
            },
            "numberofRestorableDays": 14,
            "backgroundOperationsSummary": [background] if is_suppressed else [],
            "resultMessages": [],
        }
        return Answer(200, answer)

    def _page(self, token: str, number: int) -> Answer:
        rowset = self.documents.kind("rowsets")[token]
        extension, size, count = self.documents.kind("extensions")[rowset["key"]], rowset["size"], len(rowset["rows"])
        path = f"/v1/customobjectdata/token/{token}/rowset?$page="
        links = {"self": f"{path}{number}"}
        if number * size < count:
            links["next"] = f"{path}{number + 1}"
        part = rowset["rows"][(number - 1) * size : number * size]
        about = {"customObjectId": extension["id"], "customObjectKey": rowset["key"], "requestToken": token}
        where = {"tokenExpireDateUtc": _instant(self.clock() + 86_400), "pageSize": size, "page": number, "top": 0}
        items = [extensions.as_read(extension["columns"], row) for row in part]
        return Answer(200, {"links": links, **about, **where, "count": count, "items": items})

    def _request(self, call: Call) -> dict | None:
        """A queued request; its status is not there yet in the first quarter of the time that it takes."""
        found = self.documents.kind("requests").get(call.path["request"])
        return found if found and self.clock() >= found["called"] + self.job_seconds / 4 else None

    def _not_found(self, call: Call) -> Answer:
        message = f"Unable to locate an Async Request Status Record for the provided RequestId: {call.path['request']}."
        said = _result_message("AsyncRequestStatusNotFound", message)
        return Answer(200, {"requestId": str(uuid.uuid4()), "resultMessages": [said]})


def _body(call: Call, needed: set[str], allowed: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    if len(call.content) > BYTES:
        raise Refusal(413, "10003", f"expected at most {BYTES} bytes")
    if not call.headers.get("content-type", "").startswith("application/json"):
        raise Refusal(415, "10003", "expected application/json")
    body = call.body
    if not isinstance(body, dict) or not needed <= set(body):
        raise Refusal(400, "10002", f"expected the fields {', '.join(sorted(needed))}")
    unknown = set(body) - needed - allowed
    if unknown:
        raise Refusal(400, "10003", f"unknown field: {min(unknown)}")
    return body


def _number(call: Call, name: str, default: int) -> int:
    value = call.query.get(name, str(default))
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 1_000_000_000:
        raise Refusal(400, "10001", f"{name}: expected a positive number")
    return int(value)


def _result_message(code: str, message: str) -> dict[str, str]:
    return {"resultType": "Operational", "resultClass": "Error", "resultCode": code, "message": message}


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


STAND_IN = Salesforce

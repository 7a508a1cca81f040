"""What every module in activation/destinations has to declare, whatever its vendor does."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from letterpress.activation.configuration import Block
from letterpress.activation.destinations import Connection, Destination, destinations, modules, open_client
from letterpress.activation.destinations.spec import Client, Endpoint, Limit, Operation, Shape
from letterpress.demo.vendors.server import stand_in, vendors

# Who needs no stand-in, and why.
WITHOUT = {
    "files": "a folder is one: it needs no account",
    "local_esp": "it is the demo's own, and runs as it is: letterpress.demo.esp",
}
ADDRESSES = {"files": "file:///nowhere"}  # the others are reached by HTTP
NEEDED = {Operation.UPSERT, Operation.SUPPRESS, Operation.ERASE}


@pytest.fixture(params=list(destinations(include_disabled=True).values()), ids=lambda one: one.name)
def block(request: pytest.FixtureRequest) -> Destination:
    """Every block of destinations.yml, those that are switched off too."""
    return request.param


def test_every_module_has_a_block():
    assert {one.module for one in destinations(include_disabled=True).values()} == set(modules())
    assert {"local_esp", "klaviyo", "mailchimp", "hubspot", "braze", "salesforce", "files"} <= set(modules())


def test_a_module_has_the_four_names(block):
    module = block.loaded()
    assert isinstance(module.SHAPE, Shape)
    assert issubclass(module.Options, Block)
    assert list(inspect.signature(module.open_client).parameters) == ["connection", "options"]
    assert {type(one) for one in module.ENDPOINTS.values()} == {Endpoint}
    assert module.__doc__


def test_a_module_writes_suppresses_and_erases_and_can_bring_two_ids_of_one_person_together(block):
    operations = {one for one in block.endpoints if one in set(Operation)}
    assert operations >= NEEDED
    assert operations & {Operation.MOVE, Operation.DELETE}
    assert (Operation.JOIN in operations) == (Operation.LEAVE in operations)


def test_every_name_of_an_endpoint_is_an_operation_or_a_request_that_the_module_makes(block):
    own = {name for name in block.endpoints if name not in set(Operation)}
    assert all(isinstance(name, Operation) for name in block.endpoints if name not in own)
    assert own - _named(block) == set()


def test_limits_and_caps_are_numbers_that_let_something_through(block):
    for name, one in block.endpoints.items():
        assert min(one.rows, one.bytes, one.in_flight) > 0, name
        assert one.row_bytes is None or 0 < one.row_bytes <= one.bytes, name
        assert all(isinstance(limit, Limit) and limit.requests > 0 and limit.seconds >= 0 for limit in one.limits), name
        assert one.is_awaited or one.is_asynchronous, name
    shared = {}
    for name, one in block.endpoints.items():
        if one.shared is not None:
            assert shared.setdefault(one.shared, one.limits) == one.limits, f"{name}: {one.shared} has two limits"


def test_no_field_map_can_overwrite_the_id_or_the_address(block):
    shape = block.shape
    for path in (shape.external_id, shape.email):
        name = path.rpartition(".")[2]
        assert name in shape.reserved or shape.path_of(name) != tuple(path.split(".")), name


def test_a_client_has_all_that_the_engine_asks_and_connects_with_its_first_request(block):
    asked = [name for name in (*Client.__annotations__, *vars(Client)) if not name.startswith("_")]
    assert {"requests", "send", "results", "suppressions", "read"} <= set(asked)
    address = ADDRESSES.get(block.module, "http://127.0.0.1:1")  # nobody listens there
    with open_client(block, Connection(address, "a key")) as client:
        assert [name for name in asked if not hasattr(client, name)] == []
        assert client.requests == 0


def test_every_destination_has_a_stand_in_or_a_reason(block):
    assert (block.module in vendors()) != (block.module in WITHOUT)
    if block.module not in WITHOUT:
        assert stand_in(block.module).name == block.module


def test_every_stand_in_and_every_reason_is_that_of_a_destination():
    assert {*vendors(), *WITHOUT} == {one.module for one in destinations(include_disabled=True).values()}


def test_the_page_of_destinations_tells_of_each_and_of_how_many_a_request_holds(block, repository):
    lines = (repository / "docs" / "destinations.md").read_text(encoding="utf-8").splitlines()
    [cells] = [line.strip("| ").split(" | ") for line in lines if line.startswith(f"| `{block.module}` |")]
    assert len(cells) == 8
    assert re.search(rf"(?<![\d,]){block.loaded().ENDPOINTS[Operation.UPSERT].rows:,}(?!,?\d)", cells[1]), cells[1]


def _named(block: Destination) -> set[str]:
    """The texts in a module and its parts, without those of ENDPOINTS itself."""
    file = Path(block.loaded().__file__)
    rooms = [file.parent / room for room in ("parts", "answers")]
    parts = [one for room in rooms for one in room.rglob("*.py") if file.stem in one.relative_to(room).parts[0]]
    trees = [ast.parse(one.read_text(encoding="utf-8")) for one in (file, *parts)]
    trees[0].body = [node for node in trees[0].body if "ENDPOINTS" not in _targets(node)]
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _targets(node: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    given = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {one.id for one in given if isinstance(one, ast.Name)}

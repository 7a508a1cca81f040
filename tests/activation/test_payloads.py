"""What is sent of a profile, and what a vendor then holds: as the field map says, whatever happened before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterpress.activation import payloads
from letterpress.activation.destinations import Attribute, Destination, destination

ID, EMAIL, BY_HAND = "customer-00001", "ada@example.com", "by hand"
VENDORS = ("klaviyo", "mailchimp", "hubspot", "braze", "salesforce", "local_esp", "files")
MERGING = [name for name in VENDORS if destination(name).shape.merges]
REPLACING = [name for name in VENDORS if name not in MERGING]

# Columns that stand for text, number, list and boolean; named as every vendor takes it, two of them Klaviyo's own.
COLUMNS = {
    "first_name": "FNAME",
    "country_code": "COUNTRY",
    "clv_decile": "DECILE",
    "predicted_interests": "INTERESTS",
    "is_uplift_target": "UPLIFT",
}
OWN = {"klaviyo": {"first_name": "first_name", "country_code": "country"}}


def mapped(vendor: str, rules: Mapping[str, str]) -> Destination:
    """The vendor's block with these columns (name -> what becomes of an empty value) and no other."""
    block = destination(vendor)
    lower = vendor == "hubspot"
    names = {column: name.lower() if lower else name for column, name in COLUMNS.items()} | OWN.get(vendor, {})
    return block.model_copy(
        update={
            "attributes": {column: Attribute(attribute=names[column], nulls=rule) for column, rule in rules.items()}
        }
    )


def leaves(content: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every value of a payload by its path."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= leaves(value, (*above, key))
        else:
            found[(*above, key)] = value
    return found


def profile(where: Destination, row: Mapping[str, Any], email: str = EMAIL) -> bytes:
    """A profile as the audience makes it: an empty value is left out, unless it is to be written."""
    shape = where.shape
    placed: dict[tuple[str, ...], Any] = {
        tuple(shape.external_id.split(".")): ID,
        tuple(shape.email.split(".")): email,
        **{tuple(path.split(".")): value for path, value in shape.constants.items()},
    }
    for column, one in where.attributes.items():
        if row.get(column) is not None:
            placed[shape.path_of(one.attribute)] = row[column]
        elif one.nulls == "write":
            placed[shape.path_of(one.attribute)] = shape.cleared
    content: dict[str, Any] = {}
    for path, value in placed.items():
        inner = content
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    return orjson.dumps(content)


@dataclass
class Vendor:
    """What a vendor holds of one person: payloads are merged into it, or replace it."""

    where: Destination
    holds: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def take(self, payload: bytes) -> None:
        """Carry one payload out."""
        given = leaves(orjson.loads(payload))
        self.holds = {**self.holds, **given} if self.where.shape.merges else given
        self.holds = {path: value for path, value in self.holds.items() if value != self.where.shape.cleared}

    def taken(self, payload: bytes) -> "Vendor":
        """This one, after a payload."""
        self.take(payload)
        return self


def sent_leaves(where: Destination, sent: bytes) -> dict[tuple[str, ...], Any]:
    """What is sent beside the identifiers and what stands in every payload."""
    shape = where.shape
    always = {tuple(path.split(".")) for path in (shape.external_id, shape.email, *shape.constants)}
    return {path: value for path, value in leaves(orjson.loads(sent)).items() if path not in always}


# -- by example --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", MERGING)
def test_a_vendor_that_merges_gets_what_changed_and_nothing_else(vendor):
    where = mapped(vendor, dict.fromkeys(COLUMNS, "clear"))
    before = profile(where, {"first_name": "Ada", "country_code": "GB"})
    after = profile(where, {"first_name": "Ada", "country_code": "FR"})
    sent, then = payloads.update(where, after, before)
    name = where.attributes["country_code"].attribute
    assert sent_leaves(where, sent) == {where.shape.path_of(name): "FR"}
    assert leaves(orjson.loads(then)) == leaves(orjson.loads(after))
    assert list(payloads.differing(where, [(before, after)])) == [[name]]


@pytest.mark.parametrize("vendor", REPLACING)
def test_a_vendor_that_replaces_gets_everything(vendor):
    where = mapped(vendor, dict.fromkeys(COLUMNS, "clear"))
    before = profile(where, {"first_name": "Ada", "country_code": "GB"})
    after = profile(where, {"first_name": "Ada", "country_code": "FR"})
    sent, then = payloads.update(where, after, before)
    assert leaves(orjson.loads(sent)) == leaves(orjson.loads(then)) == leaves(orjson.loads(after))


@pytest.mark.parametrize("vendor", MERGING)
def test_an_attribute_that_is_taken_out_of_the_field_map_is_emptied_once(vendor):
    whole = mapped(vendor, {"first_name": "skip", "country_code": "clear"})
    short = mapped(vendor, {"country_code": "clear"})
    row = {"first_name": "Ada", "country_code": "GB"}
    before, after = profile(whole, row), profile(short, row)
    sent, then = payloads.update(short, after, before)
    path = whole.shape.path_of(whole.attributes["first_name"].attribute)
    assert sent_leaves(short, sent) == {path: short.shape.cleared}
    again, _ = payloads.update(short, after, then)
    assert sent_leaves(short, again) == {}


@pytest.mark.parametrize("vendor", VENDORS)
def test_where_an_answer_was_lost_everything_is_sent_with_what_both_profiles_lack(vendor):
    where = mapped(vendor, {"first_name": "clear", "country_code": "skip", "predicted_interests": "clear"})
    acknowledged = profile(where, {"first_name": "Ada", "country_code": "GB"})
    pending = profile(where, {"first_name": "Grace", "country_code": "FR", "predicted_interests": "tea"})
    wanted = profile(where, {"first_name": "Grace"})
    for held in (acknowledged, pending):  # whichever of them the vendor has
        vendor_ = Vendor(where)
        vendor_.take(held)
        sent, then = payloads.update(where, wanted, acknowledged, [pending], is_certain=False)
        vendor_.take(sent)
        assert vendor_.holds == Vendor(where).taken(then).holds
        assert payloads.values(where, then)[where.attributes["first_name"].attribute] == "Grace"
        assert payloads.values(where, then)[where.attributes["predicted_interests"].attribute] in (None, "")


@pytest.mark.parametrize("vendor", MERGING)
def test_an_empty_value_whose_answer_was_lost_is_sent_again_when_the_rule_is_clear_by_then(vendor):
    written, cleared = mapped(vendor, {"first_name": "write"}), mapped(vendor, {"first_name": "clear"})
    acknowledged, pending = profile(written, {"first_name": "Ada"}), profile(written, {})
    vendor_ = Vendor(cleared)
    vendor_.take(acknowledged)
    sent, then = payloads.update(cleared, profile(cleared, {}), acknowledged, [pending], is_certain=False)
    vendor_.take(sent)
    assert vendor_.holds == Vendor(cleared).taken(then).holds


@pytest.mark.parametrize("vendor", MERGING)
def test_what_somebody_wrote_there_behind_our_back_is_gone_after_a_repair(vendor):
    where = mapped(vendor, {"first_name": "clear", "country_code": "skip", "clv_decile": "write"})
    acknowledged = profile(where, {"country_code": "GB"})
    vendor_ = Vendor(where)
    vendor_.take(acknowledged)
    kept = profile(where, {})
    _, acknowledged = payloads.update(where, kept, acknowledged)  # the country is kept there: its rule is skip
    for column, value in {"first_name": "Mallory", "country_code": "XX", "clv_decile": 3}.items():
        vendor_.holds[where.shape.path_of(where.attributes[column].attribute)] = value
    sent, then = payloads.update(where, kept, acknowledged, is_certain=False)
    vendor_.take(sent)
    assert vendor_.holds == Vendor(where).taken(then).holds
    assert payloads.values(where, then)[where.attributes["country_code"].attribute] == "GB"


@pytest.mark.parametrize("vendor", VENDORS)
def test_who_leaves_keeps_no_attribute_also_where_the_last_answer_was_lost(vendor):
    where = mapped(vendor, dict.fromkeys(COLUMNS, "clear"))
    acknowledged = profile(where, {"first_name": "Ada"})
    pending = profile(where, {"country_code": "FR"}, email="new@example.com")
    for before in (acknowledged, None):
        for arrived in (True, False):
            vendor_ = Vendor(where)
            for payload in (before, pending if arrived else None):
                if payload is not None:
                    vendor_.take(payload)
            sent = payloads.cleared(where, ID, before, [pending], is_certain=False)
            vendor_.take(sent)
            assert set(payloads.values(where, orjson.dumps(_nested(vendor_.holds))).values()) == {None}
            if where.shape.is_email_key or not where.shape.merges:
                assert payloads.email_of(where, sent) == "new@example.com"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_message_of_a_vendor_is_told_without_the_persons_own_values(vendor):
    where = mapped(vendor, dict.fromkeys(COLUMNS, "clear"))
    payload = profile(
        where, {"first_name": "Adalbert", "predicted_interests": ["orchids", "tea"], "country_code": "GB"}
    )
    told = "Adalbert (ada@example.com) may not have orchids; GB is fine"
    found = payloads.without_values(told, EMAIL, payload)
    assert found == "… (…) may not have …; GB is fine"
    assert payloads.without_values("nobody is named", None, None) == "nobody is named"


@pytest.mark.parametrize("vendor", VENDORS)
def test_one_and_true_are_different_values(vendor):
    where = mapped(vendor, {"is_uplift_target": "clear"})
    before, after = profile(where, {"is_uplift_target": 1}), profile(where, {"is_uplift_target": True})
    name = where.attributes["is_uplift_target"].attribute
    assert list(payloads.differing(where, [(before, after)])) == [[name]]
    sent, _ = payloads.update(where, after, before)
    assert payloads.values(where, sent)[name] is True


# -- for any history ---------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
VALUES = {
    "first_name": texts,
    "country_code": st.sampled_from(["GB", "FR", "\U0001f1eb\U0001f1f7", "é"]),
    "clv_decile": st.integers(1, 10),
    "predicted_interests": st.lists(texts, min_size=1, max_size=3),
    "is_uplift_target": st.booleans(),
}
rows = st.fixed_dictionaries({}, optional=VALUES)
field_maps = st.dictionaries(st.sampled_from(list(COLUMNS)), st.sampled_from(["write", "skip", "clear"]), min_size=1)
FATES = ["answered", "answered", "answered", "lost before", "lost after", "repaired"]
steps = st.lists(
    st.tuples(rows, st.none() | field_maps, st.sampled_from(FATES), st.sampled_from([EMAIL, "new@example.com"])),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("vendor", VENDORS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(first=field_maps, history=steps)
def test_whatever_a_person_becomes_a_vendor_holds_what_the_rules_say(vendor, first, history):
    _live_through(vendor, first, history)


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS)
@settings(max_examples=250, deadline=None, derandomize=True)
@given(first=field_maps, history=steps)
def test_the_rules_hold_over_many_more_histories(vendor, first, history):
    _live_through(vendor, first, history)


def _live_through(vendor: str, field_map: dict[str, str], history: list[tuple]) -> None:
    """Rows and field maps as they change; answers are lost, and somebody writes at the vendor."""
    where = mapped(vendor, field_map)
    there, acknowledged, pending = Vendor(where), None, []
    possible: dict[str, list] = {}  # by column: what the vendor may hold of it, as far as we are concerned
    for row, changed_map, fate, email in history:
        field_map = changed_map or field_map
        there.where = where = mapped(vendor, field_map)
        wanted = profile(where, row, email)
        is_disturbed = fate == "repaired" and acknowledged is not None and not pending
        if is_disturbed:
            known = leaves(orjson.loads(acknowledged))
            rules = {path: where.attributes[column].nulls for column, path in _paths(where).items()}
            there.holds |= {path: BY_HAND for path, rule in rules.items() if rule != "skip" or path in known}
        is_certain = not pending and not is_disturbed
        sent, then = payloads.update(where, wanted, acknowledged, pending, is_certain=is_certain)
        if where.shape.merges and is_certain and acknowledged is not None:
            before = leaves(orjson.loads(acknowledged))
            for path, value in sent_leaves(where, sent).items():
                assert path not in before or _differ(before[path], value), "an unchanged attribute was sent"
        else:
            assert set(leaves(orjson.loads(wanted))) <= set(leaves(orjson.loads(sent)))
        if fate != "lost before":
            there.take(sent)
        for column in COLUMNS:
            value, rule = row.get(column), field_map.get(column)
            left = possible.get(column, [None]) if value is None and rule == "skip" else [value if rule else None]
            possible[column] = [*possible.get(column, []), *left] if fate.startswith("lost") else left
        if fate.startswith("lost"):
            pending = [*pending, then]
            continue
        acknowledged, pending = then, []
        _check(where, there, row, then, possible)


def _differ(one: Any, other: Any) -> bool:
    return one != other or isinstance(one, bool) != isinstance(other, bool)


def _paths(where: Destination) -> dict[str, tuple[str, ...]]:
    return {column: where.shape.path_of(one.attribute) for column, one in where.attributes.items()}


def _check(where: Destination, there: Vendor, row: Mapping[str, Any], then: bytes, possible: Mapping) -> None:
    paths = _paths(where)
    told = {path: value for path, value in leaves(orjson.loads(then)).items() if value != where.shape.cleared}
    assert there.holds == told
    for column, path in paths.items():
        value, rule, held = row.get(column), where.attributes[column].nulls, there.holds.get(path)
        if value is not None:
            assert held == value
        elif rule in ("write", "clear"):
            assert held is None
        else:
            assert held in possible[column]
    ours = {tuple(path.split(".")) for path in (where.shape.external_id, where.shape.email, *where.shape.constants)}
    assert set(there.holds) <= {*paths.values()} | ours, "nothing is left of what is no longer mapped"


def _nested(holds: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for path, value in holds.items():
        inner = content
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    return content

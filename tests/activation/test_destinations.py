"""Bad configuration fails at start with file, line, field and remedy."""

import pytest
from activation_line import KEY

from letterpress.activation.configuration import ConfigurationError
from letterpress.activation.destinations import Connection, destination, destinations

GOOD = """\
shop_esp:
  module: letterpress.activation.destinations.local_esp
  connection: shop_esp
  audience: activation.sync_customers
  batch: {rows: 10}
  attributes:
    first_name: {attribute: FIRST_NAME, nulls: skip}
    rfm_code: {attribute: RFM}
"""


def read(tmp_path, text):
    path = tmp_path / "destinations.yml"
    path.write_text(text)
    return destination("shop_esp", path)


def test_the_destinations_that_ship_are_right():
    assert "local_esp" in destinations()


def test_a_block_is_read_with_its_defaults(tmp_path):
    one = read(tmp_path, GOOD)
    upsert = one.endpoints["upsert"]
    assert (upsert.rows, upsert.bytes, one.leavers) == (10, 1_000_000, "keep")
    assert one.attributes["rfm_code"].nulls == "clear"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch:", "batches:", "line 5: shop_esp.batches: unknown field; did you mean 'batch'?"),
        ("rows: 10", "row: 10", "line 5: shop_esp.batch.row: unknown field; did you mean 'rows'?"),
        ("nulls: skip", "null_rule: skip", "line 7: shop_esp.attributes.first_name.null_rule: unknown field"),
        ("nulls: skip", "nulls: drop", "line 7: shop_esp.attributes.first_name.nulls: Input should be 'write'"),
        ("first_name:", "firstname:", "attributes.firstname: unknown column .*; did you mean 'first_name'?"),
        ("rfm_code:", "consent_proof:", "attributes.consent_proof: a sync never writes consent"),
        ("RFM}", "FIRST_NAME}", "expected each name once, found 'FIRST_NAME'"),
        ("RFM}", "email}", "expected another name, found 'email', which is taken"),
        ("RFM}", "R/F}", "line 8: shop_esp.attributes.rfm_code: expected a name like"),
        (
            "RFM}",
            "RFM, type: number}",
            r"attributes.rfm_code.type: expected string or list for a varchar, found number",
        ),
        ("RFM}", "RFM, format: DD/MM}", "expected iso, epoch_seconds, epoch_milliseconds or a pattern"),
        (
            "destinations.local_esp",
            "destinations.local_exp",
            "line 2: shop_esp.module: expected a module .*; did you mean 'local_esp'",
        ),
        ("  batch:", "  subscribes: maybe\n  batch:", "line 5: shop_esp.subscribes: Input should be a valid boolean"),
        ("  batch:", "  lists: {champions: L1}\n  batch:", "lists: .* has no operation join; remove this line"),
        ("rows: 10", "rows: 5000", "batch.rows: expected at most 1000, .* found 5000"),
        ("  batch:", "  options: {list: L1}\n  batch:", "line 5: shop_esp.options.list: Extra inputs"),
        ("  connection: shop_esp\n", "", "line 1: shop_esp.connection: expected a value, found none"),
        ("rows: 10", "rows: many", "line 5: shop_esp.batch.rows: Input should be a valid integer"),
        ("activation.sync_customers", "activation.sync_customer", "did you mean 'activation.sync_customers'?"),
        ("{rows: 10}", "{rows: 10", "destinations.yml, line"),
    ],
)
def test_a_mistake_is_answered_with_file_line_field_and_the_nearest_name(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigurationError, match=message) as refused:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert str(refused.value).startswith("destinations.yml")


def test_an_unknown_destination_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigurationError, match="unknown destination 'local_exp'; did you mean 'local_esp'"):
        destination("local_exp")


def test_a_connection_never_shows_its_token():
    assert KEY.decode() not in repr(Connection("http://localhost", KEY.decode()))

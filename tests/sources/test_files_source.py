"""Files of a folder: each is read once, in whatever way a retailer writes CSV, and no row is lost in silence."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from source_doubles import Line, source_named

from letterpress.sources import Connection, Source, load_sources
from letterpress.sources.errors import SchemaChanged, SourceRefused
from letterpress.sources.options import FileOptions

HEADER = ["product_id", "name", "description", "category", "price", "currency", "stock_quantity"]
HEADER += ["created_at", "updated_at"]
AT = "2011-06-01T00:00:00.000Z"
SPOKEN = "Product ID;Name;Description;Category;Price;Currency;Stock Quantity;Created At;Updated At"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "exports"
    path.mkdir()
    return path


@pytest.fixture
def retailer(tmp_path: Path, folder: Path) -> Line:
    return Line(str(tmp_path / "landing"), str(folder))


def catalogue(**options: object) -> Source:
    """The catalogue as it is configured, with other options."""
    source = source_named("catalogue")
    return source.model_copy(update={"options": FileOptions.model_validate(source.options.model_dump() | options)})


def plain(*rows: str, newline: str = "\r\n", end: str = "\r\n") -> bytes:
    return (newline.join([",".join(HEADER), *rows]) + end).encode()


def product(number: int, price: str = "4.5", at: str = AT) -> str:
    return f"P{number:04d},Jar,A jar,Kitchen,{price},GBP,3,{AT},{at}"


HORRORS = "\r\n".join(
    [
        "",
        SPOKEN,
        f'P0001;Mørk jar;"A ""deep"" jar\nfor jam; or not";Kitchen;1,95;GBP;3;{AT};{AT}',
        "",
        f"P0002;Jar;;Kitchen;12;GBP;;{AT};{AT}",
        ";;;;;;;;",
        f'P0003;"Total jar";A jar;Kitchen;0,5;GBP;4;{AT};2011-06-01T02:00:00+02:00',
        "",
        "Total;3 products",
        "",
    ]
)


@pytest.mark.parametrize(
    ("encoding", "newline"), [("utf-8-sig", "\r\n"), ("utf-8", "\n"), ("windows-1252", "\r\n"), ("windows-1252", "\n")]
)
def test_a_spreadsheets_csv_is_read_as_what_it_means(retailer, folder, encoding, newline):
    (folder / "products_2011-06-01.csv").write_bytes(HORRORS.replace("\r\n", newline).encode(encoding))
    manifest = retailer.land("catalogue")
    rows = retailer.rows("products").astype(object).where(lambda frame: frame.notna(), None)
    assert manifest.entities["products"].new_columns == ()
    assert rows["product_id"].tolist() == ["P0001", "P0002", "P0003"]
    assert rows["name"].tolist() == ["Mørk jar", "Jar", "Total jar"]
    assert rows["description"].tolist() == ['A "deep" jar\nfor jam; or not', None, "A jar"]
    assert rows["price"].tolist() == [1.95, 12.0, 0.5]
    assert rows["stock_quantity"].tolist() == [3, None, 4]
    assert {at.isoformat() for at in rows["updated_at"]} == {"2011-06-01T00:00:00+00:00"}


def test_plain_csv_lands_the_same_rows_as_the_horrible_one(retailer, folder, tmp_path):
    other = tmp_path / "plain"
    other.mkdir()
    (folder / "products_1.csv").write_bytes(f"{SPOKEN}\nP0001;Jar;A jar;Kitchen;4,5;GBP;3;{AT};{AT}\n".encode())
    (other / "products_1.csv").write_bytes(plain(product(1)))
    retailer.land("catalogue")
    second = Line(str(tmp_path / "other"), str(other))
    second.land("catalogue")
    assert retailer.rows("products")["_row_hash"].tolist() == second.rows("products")["_row_hash"].tolist()


def test_a_nightly_dump_lands_only_what_changed(retailer, folder):
    (folder / "products_2011-06-01.csv").write_bytes(plain(*map(product, range(50))))
    first = retailer.land("catalogue")
    again = retailer.extract("catalogue")
    changed = product(7, price="9.5", at="2011-06-02T00:00:00.000Z")
    dump = [changed if number == 7 else product(number) for number in range(51)]
    (folder / "products_2011-06-02.csv").write_bytes(plain(*dump))
    second = retailer.land("catalogue")
    assert (first.rows, again, second.rows) == (50, None, 2)
    assert second.entities["products"].repeated_rows == 49
    assert retailer.rows("products").query("product_id == 'P0007'")["price"].tolist() == [4.5, 9.5]


def test_a_file_is_read_once_and_an_equal_one_under_another_name_not_at_all(retailer, folder, caplog):
    (folder / "products_1.csv").write_bytes(plain(product(1)))
    retailer.land("catalogue")
    (folder / "products_2.csv").write_bytes(plain(product(1)))
    with caplog.at_level(logging.INFO):
        assert retailer.extract("catalogue") is None
    assert "products_2.csv has the content of a file that was read before" in caplog.text


def test_other_files_and_half_written_ones_are_left_alone(retailer, folder):
    (folder / "products_1.csv").write_bytes(plain(product(1)))
    (folder / "products_2.csv.part").write_bytes(b"P00")
    (folder / "customers_1.csv").write_bytes(b"nothing of ours")
    assert retailer.land("catalogue").rows == 1


def test_a_cursor_of_another_way_of_reading_begins_anew(retailer, folder, api):
    row = dict(zip(HEADER, ["P0001", "Jar", "A jar", "Kitchen", 4.5, "GBP", 3, AT, AT], strict=True))
    api.tables["/v1/products"] = [row]
    retailer.connections["letterpress_shop_files"] = Connection(base_url=api.url)
    by_rest = source_named("catalogue").model_copy(update={"options": None, "module": "demo_shop"})
    first = retailer.land(by_rest)
    retailer.connections["letterpress_shop_files"] = Connection(base_url=str(folder))
    (folder / "products_1.csv").write_bytes(plain(product(1), product(2)))
    second = retailer.land("catalogue")
    assert (first.rows, second.rows, second.entities["products"].repeated_rows) == (1, 1, 1)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([product(1), "P0002,Jar,too few"], ["products_1.csv, line 3", "expected 9 cells, found 3 cells"]),
        ([product(1), product(2) + ",one more"], ["line 3", "expected 9 cells, found 10 cells"]),
        ([product(1), 'P0002,"Jar"s,A jar,Kitchen,1,GBP,3,x,y'], ["line 3", "quotes that do not end or fit"]),
        (["Total,2 products", product(1)], ["line 2", "expected 9 cells, found 2 cells"]),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_nothing_lands(retailer, folder, rows, expected):
    (folder / "products_1.csv").write_bytes(plain(*rows))
    with pytest.raises(SourceRefused) as caught:
        retailer.extract("catalogue")
    for text in [*expected, "Next step"]:
        assert text in str(caught.value)
    assert "Jar" not in str(caught.value)
    assert retailer.files() == set()


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        (product(2, price="4,5x").replace("4,5x", '"4,5"'), "price", "double written with '.'"),
        (product(2, price="nan"), "price", "double written with '.'"),
        (product(2).replace(",3,", ",three,"), "stock_quantity", "int64"),
        (product(2, at="2011-06-01 10:00"), "updated_at", "timestamp[us, tz=UTC] with its zone"),
    ],
)
def test_a_cell_of_another_type_is_named_by_file_line_and_column(retailer, folder, row, column, expected):
    two_lines = product(1).replace("A jar", '"A\njar"')
    (folder / "products_1.csv").write_bytes(plain(two_lines, row))
    with pytest.raises(SchemaChanged) as caught:
        retailer.extract("catalogue")
    assert (caught.value.column, caught.value.expected) == (column, expected)
    assert caught.value.position == "products_1.csv, line 4"


def test_a_decimal_point_where_commas_are_declared_is_no_number(retailer, folder):
    (folder / "products_1.csv").write_bytes(f"{SPOKEN}\nP0001;Jar;A jar;Kitchen;4.500;GBP;3;{AT};{AT}\n".encode())
    with pytest.raises(SchemaChanged, match="double written with ','"):
        retailer.extract("catalogue")


def test_missing_columns_are_named_and_can_be_declared_under_another_header(retailer, folder):
    spelt = plain(product(1)).replace(b"stock_quantity", b"On Shelf")
    (folder / "products_1.csv").write_bytes(spelt)
    with pytest.raises(SourceRefused, match=r"missing \['stock_quantity'\].*options.columns of catalogue"):
        retailer.extract("catalogue")
    assert retailer.land(catalogue(columns={"On Shelf": "stock_quantity"})).rows == 1


def test_text_in_none_of_the_encodings_is_named_by_its_line(retailer, folder):
    (folder / "products_1.csv").write_bytes(plain(product(1)) + b"P0002,M\x81rk" + b",\r\n")
    with pytest.raises(SourceRefused, match=r"line 3: expected text in utf-8-sig or windows-1252"):
        retailer.extract("catalogue")


def test_a_new_column_lands_as_text(retailer, folder):
    wider = plain(product(1) + ",yes").replace(b"updated_at\r\n", b"updated_at,Gift Wrap\r\n")
    (folder / "products_1.csv").write_bytes(wider)
    assert retailer.land("catalogue").entities["products"].new_columns == ("gift_wrap",)
    assert retailer.rows("products")["gift_wrap"].tolist() == ["yes"]


@pytest.mark.parametrize("cut", ["P0002,Jar,A j", 'P0002,Jar,"A j'])
def test_a_half_written_last_line_stops_or_is_counted_as_declared(retailer, folder, caplog, cut):
    (folder / "products_1.csv").write_bytes(plain(product(1)) + cut.encode())
    with pytest.raises(SourceRefused, match="line 3"):
        retailer.extract("catalogue")
    assert retailer.land(catalogue(skip_broken_last_line=True)).rows == 1
    assert "products_1.csv, line 3: 1 half-written last line skipped" in caplog.text


def test_a_broken_line_in_the_middle_is_never_skipped(retailer, folder):
    (folder / "products_1.csv").write_bytes(plain("P0002,Jar", product(1)))
    with pytest.raises(SourceRefused, match="line 2"):
        retailer.extract(catalogue(skip_broken_last_line=True))


def customer(number: int, **changes: object) -> str:
    row = {"customer_id": f"C{number}", "first_name": "Ada", "preferences": ["Kitchen"], "updated_at": AT}
    return json.dumps(row | changes)


def crm(**options: object) -> Source:
    given = FileOptions(reader="files", pattern="{entity}_*.jsonl", **options)
    return source_named("crm", entities=("customers",), connection="letterpress_shop_files", options=given)


def test_json_lines_land_without_their_blank_lines(retailer, folder):
    (folder / "customers_1.jsonl").write_text(f"\ufeff{customer(1)}\n\n   \n{customer(2, preferences=None)}\r\n")
    assert retailer.land(crm()).rows == 2
    rows = retailer.rows("customers")
    assert rows["customer_id"].tolist() == ["C1", "C2"]
    assert rows["preferences"].tolist()[0] == '["Kitchen"]'


def test_a_half_written_json_line_stops_or_is_counted_as_declared(retailer, folder, caplog):
    (folder / "customers_1.jsonl").write_text(f"{customer(1)}\n\n{customer(2)[:20]}")
    with pytest.raises(SourceRefused, match=r"customers_1.jsonl, line 3: expected a JSON object"):
        retailer.extract(crm())
    assert retailer.land(crm(skip_broken_last_line=True)).rows == 1
    assert "line 3: 1 half-written last line skipped" in caplog.text


@pytest.mark.parametrize("line", ["{", "[1]", '"text"'])
def test_a_line_that_is_no_object_is_named(retailer, folder, line):
    (folder / "customers_1.jsonl").write_text(f"{customer(1)}\n{line}\n{customer(2)}\n")
    with pytest.raises(SourceRefused, match="line 2: expected a JSON object"):
        retailer.extract(crm(skip_broken_last_line=True))


def test_parquet_lands_with_objects_that_are_kept_as_json_text(retailer, folder):
    rows = {
        "customer_id": ["C1", "C2"],
        "preferences": ['["Kitchen"]', None],
        "updated_at": pa.array([datetime(2011, 6, 1, tzinfo=UTC)] * 2, pa.timestamp("ms", "UTC")),
    }
    empty = {name: pa.nulls(2) for name in source_named("crm").declared()[0].schema.names if name not in rows}
    pq.write_table(pa.table(rows | empty), folder / "customers_1.parquet")
    by_parquet = crm().model_copy(
        update={"options": FileOptions(reader="files", pattern="{entity}_*.parquet")},
    )
    assert retailer.land(by_parquet).rows == 2
    assert retailer.rows("customers")["preferences"].tolist()[0] == '["Kitchen"]'


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ("{reader: files, pattern: '*.csv', delimiter: ';'}", "shop.options.files.delimiter"),
        ("{reader: files, pattern: '*.csv', encodings: [utf-9]}", "shop.options.files.encodings"),
        ("{reader: files, pattern: '*.csv', dialects: [{delimiter: ',', decimal: ','}]}", "dialects.0"),
        ("{reader: files, pattern: '*.txt'}", "expected a format"),
        ("{reader: files}", "shop.options.files.pattern"),
        ("{reader: excel}", "shop.options"),
        ("{reader: sql, table: orders}", "shop.options.sql.table"),
    ],
)
def test_options_that_nobody_knows_are_named_with_their_file(tmp_path, options, field):
    file = tmp_path / "sources.yml"
    file.write_text(
        "shop:\n  description: orders\n  module: demo_shop\n  connection: shop\n  entities: [orders]\n"
        f"  schedule: '@daily'\n  options: {options}\n"
    )
    with pytest.raises(ValueError, match=r"sources\.yml") as caught:
        load_sources(path=file)
    assert field in str(caught.value)


def test_options_are_frozen():
    with pytest.raises(ValidationError):
        source_named("catalogue").options.pattern = "*"

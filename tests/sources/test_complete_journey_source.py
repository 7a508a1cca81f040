"""Complete Journey: seven files of a folder, each row landed once, and the real tables."""

from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_doubles import Line

from letterpress.settings import REPOSITORY, Settings
from letterpress.sources import load_sources
from letterpress.sources.errors import SchemaChanged, SourceRefused

REAL = REPOSITORY.parent / "shared" / "data" / "complete_journey"
BY_LINE = {"transactions", "coupons", "coupon_redemptions"}


def baskets(count: int = 4, **changes: pa.Array) -> pa.Table:
    numbers = range(count)
    columns = {
        "household_id": pa.array([1 + number % 3 for number in numbers], pa.int64()),
        "store_id": pa.array([381] * count, pa.int64()),
        "basket_id": pa.array([31_198_676_055 + number // 2 for number in numbers], pa.int64()),
        "product_id": pa.array([1_000_000 + number for number in numbers], pa.int64()),
        "quantity": pa.array([1] * count, pa.int64()),
        "sales_value": pa.array([2.5] * count, pa.float64()),
        "retail_disc": pa.array([0.5] * count, pa.float64()),
        "coupon_disc": pa.array([0.0] * count, pa.float64()),
        "coupon_match_disc": pa.array([0.0] * count, pa.float64()),
        "week": pa.array([1] * count, pa.int64()),
        "transaction_timestamp": pa.array([datetime(2017, 1, 1, 12, 56, 33)] * count, pa.timestamp("us")),
    }
    return pa.table(columns | changes)


def tables() -> dict[str, pa.Table]:
    """A small table of each kind, under the real column names and types."""
    day = pa.timestamp("us")
    return {
        "transactions": baskets(),
        "products": pa.table(
            {
                "product_id": [25671, 26081],
                "manufacturer_id": [2, 2],
                "department": ["GROCERY", "MISCELLANEOUS"],
                "brand": ["National", "National"],
                "product_category": pa.array(["FRZN ICE", None]),
                "product_type": pa.array(["ICE - CRUSHED/CUBED", None]),
                "package_size": pa.array(["22 LB", None]),
            }
        ),
        "demographics": pa.table(
            {
                "household_id": [1],
                "age": ["65+"],
                "income": ["35-49K"],
                "home_ownership": ["Homeowner"],
                "marital_status": pa.array([None], pa.string()),
                "household_size": ["2"],
                "household_comp": ["2 Adults No Kids"],
                "kids_count": ["0"],
            }
        ),
        "campaigns": pa.table({"campaign_id": [1, 1], "household_id": [1, 2]}),
        "campaign_descriptions": pa.table(
            {
                "campaign_id": [1],
                "campaign_type": ["Type B"],
                "start_date": pa.array([datetime(2017, 3, 3)], day),
                "end_date": pa.array([datetime(2017, 4, 9)], day),
            }
        ),
        "coupons": pa.table(
            {"coupon_upc": [10000085207] * 3, "product_id": [25671, 26081, 25671], "campaign_id": [1, 1, 1]}
        ),
        "coupon_redemptions": pa.table(
            {
                "household_id": [1],
                "coupon_upc": [10000085207],
                "campaign_id": [1],
                "redemption_date": pa.array([datetime(2017, 3, 5)], day),
            }
        ),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "journey"
    path.mkdir()
    for name, table in tables().items():
        pq.write_table(table, path / f"{name}.parquet")
    return path


@pytest.fixture
def journey(tmp_path: Path, folder: Path) -> Line:
    return Line(str(tmp_path / "landing"), str(folder))


def test_it_is_on_where_its_folder_is_given(tmp_path: Path) -> None:
    assert "complete_journey" not in load_sources(settings_=Settings(complete_journey=None))
    assert list(load_sources(settings_=Settings(complete_journey=str(tmp_path))))[-1] == "complete_journey"


def test_every_table_lands_once_each_from_its_own_file(journey: Line) -> None:
    manifest = journey.land("complete_journey")
    assert {name: entity.rows for name, entity in manifest.entities.items()} == {
        name: table.num_rows for name, table in tables().items()
    }
    assert journey.extract("complete_journey") is None


def test_times_stay_as_the_file_has_them(journey: Line) -> None:
    journey.land("complete_journey")
    rows = journey.rows("transactions")
    assert rows["transaction_timestamp"].dt.tz is None
    assert rows["transaction_timestamp"][0] == datetime(2017, 1, 1, 12, 56, 33)
    assert rows["line_number"].tolist() == [1, 2, 3, 4]


def test_equal_lines_land_where_the_warehouse_has_to_judge_them(journey: Line) -> None:
    """The real list of coupons repeats 4,872 lines."""
    journey.land("complete_journey")
    coupons = journey.rows("coupons")
    assert len(coupons) == 3
    assert coupons.duplicated(["coupon_upc", "product_id", "campaign_id"]).sum() == 1


def test_a_product_that_changes_lands_alone(journey: Line, folder: Path) -> None:
    journey.land("complete_journey")
    products = tables()["products"].to_pylist()
    products[1]["product_category"] = "SALAD"
    pq.write_table(pa.Table.from_pylist(products, tables()["products"].schema), folder / "products.parquet")
    second = journey.land("complete_journey")
    assert {name: entity.rows for name, entity in second.entities.items() if entity.rows} == {"products": 1}
    assert journey.rows("products").query("load_sequence == 2")["product_id"].tolist() == [26081]


def test_a_table_that_is_missing_says_where_to_get_it(journey: Line, folder: Path) -> None:
    (folder / "coupons.parquet").unlink()
    with pytest.raises(SourceRefused) as caught:
        journey.extract("complete_journey")
    assert "coupons.parquet" in str(caught.value)
    assert "completejourney" in str(caught.value)
    assert "LETTERPRESS_COMPLETE_JOURNEY" in str(caught.value)


def test_columns_that_are_missing_are_named(journey: Line, folder: Path) -> None:
    pq.write_table(baskets().drop_columns(["sales_value", "retail_disc"]), folder / "transactions.parquet")
    with pytest.raises(SourceRefused) as caught:
        journey.extract("complete_journey")
    assert "missing ['sales_value', 'retail_disc']" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("quantity", pa.array(["1", "2", "3", "4"]), "string"),
        ("household_id", pa.array([1.0, 2.5, 3.0, 4.0]), "double that int64 does not hold"),
        ("transaction_timestamp", pa.array([0] * 4, pa.timestamp("us", "UTC")), "timestamp[us, tz=UTC]"),
    ],
)
def test_a_changed_type_lands_nothing_of_any_table(
    journey: Line, folder: Path, name: str, values: pa.Array, found: str
) -> None:
    pq.write_table(baskets(**{name: values}), folder / "transactions.parquet")
    with pytest.raises(SchemaChanged) as caught:
        journey.extract("complete_journey")
    assert caught.value.found == found
    assert "transactions.parquet, batch from line 1, row" in str(caught.value)
    assert journey.files() == set()


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real tables (../shared/data/complete_journey) are absent")
def test_the_real_tables_land_as_plain_sql_counts_them(tmp_path: Path) -> None:
    journey = Line(str(tmp_path / "landing"), str(REAL))
    manifest = journey.land("complete_journey")
    for name, entity in manifest.entities.items():
        theirs = f"select * from read_parquet('{REAL / name}.parquet')"
        files = [f"{journey.landing}/{file}" for file in entity.files]
        kept = "* exclude (_row_hash, file, line_number)" if name in BY_LINE else "* exclude (_row_hash)"
        ours = f"select {kept} from read_parquet({files})"
        [[count]] = duckdb.sql(f"select count(*) from ({theirs})").fetchall()
        assert entity.rows == count, name
        assert duckdb.sql(f"({theirs}) except all ({ours})").fetchall() == [], name
        assert duckdb.sql(f"({ours}) except all ({theirs})").fetchall() == [], name
    assert manifest.entities["transactions"].rows == 672_836
    assert journey.extract("complete_journey") is None

"""The real invoices: the warehouse's counts and amounts agree with plain SQL over the file."""

import pytest
from landed_rows import Landing

pytestmark = pytest.mark.slow

# What the rules say, written independently of the models: each line once, then what it is.
PLAIN = """
    create temp table lines as
    select *, row_number() over (
        partition by
            InvoiceNo, upper(trim(StockCode)), trim(Description), Quantity, InvoiceDate, UnitPrice, CustomerID, Country
    ) as copy
    from read_parquet('{files}');

    create temp table kept as
    select * from lines
    where copy = 1 and UnitPrice > 0 and upper(StockCode) not in ('S', 'AMAZONFEE', 'BANK CHARGES', 'CRUK', 'B')
        and ((InvoiceNo like 'C%' and Quantity < 0) or (InvoiceNo not like 'C%' and Quantity > 0))
"""


@pytest.fixture(scope="module")
def plain(real_data):
    import duckdb

    with duckdb.connect() as connection:
        for statement in PLAIN.format(files=real_data / "online_retail" / "*.parquet").split(";"):
            connection.execute(statement)
        yield connection


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory, plain) -> Landing:
    landing = Landing(tmp_path_factory.mktemp("online_retail"))
    landing.load(
        online_retail__invoice_lines=plain.sql(
            "select 'invoices.parquet' as file, row_number() over () as line_number, InvoiceNo as invoice_no, "
            "StockCode as stock_code, Description as description, Quantity::bigint as quantity, "
            "InvoiceDate as invoice_date, UnitPrice as unit_price, CustomerID::bigint as customer_id, "
            "Country as country, sha256(lines::varchar) as _row_hash from lines"
        ).to_arrow_table()
    )
    landing.build("--select", "tag:features_phase")
    return landing


def test_every_line_is_accounted_for(warehouse, plain):
    found = dict(
        warehouse.query(
            "select disposition, row_count from marts.fct_source_reconciliation where source_name = 'online_retail'"
        )
    )
    [[landed, repeated]] = plain.sql("select count(*), count(*) filter (copy > 1) from lines").fetchall()
    [[cancelled, unknown, known]] = plain.sql(
        "select count(*) filter (InvoiceNo like 'C%'), "
        "count(*) filter (InvoiceNo not like 'C%' and CustomerID is null), "
        "count(*) filter (InvoiceNo not like 'C%' and CustomerID is not null) from kept"
    ).fetchall()
    assert (found.pop("landed"), found.pop("duplicate")) == (landed, repeated)
    assert (found.pop("used:cancellation"), found.pop("used:no_customer"), found.pop("used")) == (
        cancelled,
        unknown,
        known,
    )
    assert sum(found.values()) == landed - repeated - cancelled - unknown - known
    assert all(name.startswith("quarantined:") for name in found)


def test_orders_people_and_net_amount_agree(warehouse, plain):
    [[orders, people, cancellations, amount]] = plain.sql(
        "select count(distinct InvoiceNo), count(distinct CustomerID), "
        "count(distinct InvoiceNo) filter (InvoiceNo like 'C%'), sum(Quantity * UnitPrice) from kept"
    ).fetchall()
    [found] = warehouse.query(
        "select count(*), count(distinct customer_id), count(*) filter (is_cancelled), sum(net_amount) "
        "from marts.fct_orders"
    )
    assert found[:3] == (orders, people, cancellations)
    assert found[3] == pytest.approx(amount, abs=1.0)


def test_a_purchase_that_was_cancelled_whole_is_none(warehouse):
    """12346 bought 74,215 jars in January 2011 and gave them back sixteen minutes later."""
    [row] = warehouse.query(
        "select order_count, total_spend from marts.dim_customer_identities join marts.dim_customers "
        "using (customer_id) where source_customer_key = 'online_retail:12346'"
    )
    assert row == (0, 0.0)

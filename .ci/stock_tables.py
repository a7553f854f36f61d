"""Stock engines read a table of the warehouse: argv = its folder, a JSON file of what is to be found in it."""

import json
import sys
from pathlib import Path

import duckdb
import polars as pl
from deltalake import DeltaTable

folder, expected = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())

CHECKED = ["rows", "sum_id", "sum_twice", "null_twice", "text_bytes", "first", "last"]
QUERY = """
    SELECT count(*), sum(id), sum(twice), count(*) FILTER (twice IS NULL), sum(strlen(text)),
           epoch(min("eventTime"))::BIGINT, epoch(max("eventTime"))::BIGINT
    FROM rows
"""


def check(engine, found):
    found = {name: int(value) for name, value in zip(CHECKED, found)}
    wanted = {name: expected[name] for name in CHECKED}
    assert found == wanted, f"{engine}: found {found}, wanted {wanted}"
    print(f"{engine}: {found['rows']} rows as written")


def log_of(table):
    """What is in the log as its protocol says it, and each file that it names is there."""
    uris = table.file_uris()
    assert len(uris) == expected["files"], (len(uris), expected["files"])
    assert all(Path(uri).exists() for uri in uris)
    on_disk = list(Path(folder).glob("_hour=*/*.parquet"))
    assert len(on_disk) == len(uris), "the vacuum left files that no version needs"
    operations = [commit["operation"] for commit in table.history()]
    assert operations.count("OPTIMIZE") == expected["compactions"] > 0, operations
    assert operations.count("DELETE") == 1 and expected["deleted"] > 0, operations


def with_delta_rs(table):
    rows = table.to_pyarrow_table()
    assert rows.column_names[-1] == "_hour" and "twice" in rows.column_names, rows.column_names
    connection = duckdb.connect()
    connection.register("rows", rows)
    check("delta-rs", connection.execute(QUERY).fetchall()[0])
    hour = table.to_pyarrow_table(filters=[("_hour", "=", "2015-09-12-00")])
    assert 0 < hour.num_rows < rows.num_rows


def with_duckdb():
    """By its own reader of Delta where that extension can be had, else over the files that the log names."""
    connection = duckdb.connect()
    try:
        connection.execute("INSTALL delta; LOAD delta")
        source, engine = f"delta_scan('{folder}')", "DuckDB (delta)"
    except duckdb.Error:
        files = DeltaTable(folder).file_uris()
        source, engine = f"read_parquet({files!r}, union_by_name = true)", "DuckDB (files)"
    connection.execute(f"CREATE VIEW rows AS SELECT * FROM {source}")
    check(engine, connection.execute(QUERY).fetchall()[0])


def with_polars():
    seconds = pl.col("eventTime").dt.epoch("s")
    found = pl.scan_delta(folder).select(
        rows=pl.len(),
        sum_id=pl.col("id").sum(),
        sum_twice=pl.col("twice").sum(),
        null_twice=pl.col("twice").is_null().sum(),
        text_bytes=pl.col("text").str.len_bytes().sum(),
        first=seconds.min(),
        last=seconds.max(),
    )
    check("Polars", found.collect().row(0))


table = DeltaTable(folder)
log_of(table)
with_delta_rs(table)
with_duckdb()
with_polars()

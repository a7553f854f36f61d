#!/usr/bin/env python3
"""DuckDB on Parquet files, for `sanderling bench queries --beside`: a line of JSON in, a line of JSON out."""

import json
import sys

import duckdb

connection = duckdb.connect()
connection.execute("SET threads = 2")
table = ""
for line in sys.stdin:
    asked = json.loads(line)
    rows = []
    if "files" in asked:
        names = ", ".join("'" + name.replace("'", "''") + "'" for name in asked["files"])
        table = f"read_parquet([{names}])"
    else:
        rows = connection.execute(asked["sql"].replace("{}", table)).fetchall()
    print(json.dumps({"rows": rows, "version": f"DuckDB {duckdb.__version__}"}), flush=True)

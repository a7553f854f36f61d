"""SQL clients against a running server: argv = addresses of the HTTP, Flight and Postgres doors, then a token
if one is asked for.

ADBC's Flight SQL driver, and psql. The dataset `plain` has n from 0 to 999 and a name.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager

http, flight_door, postgres = sys.argv[1:4]
token = sys.argv[4] if len(sys.argv) > 4 else None
host, port = postgres.rsplit(":", 1)


def adbc(given=token):
    options = {}
    if given:
        options[adbc_driver_flightsql.DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {given}"
    return flight_sql.connect(f"grpc://{flight_door}", db_kwargs=options, autocommit=True)


def ask_adbc():
    with adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n, name FROM plain ORDER BY n LIMIT 2")
        assert cursor.fetchall() == [(0, "row 0"), (1, "row 1")]
        for n in (7, 8):
            cursor.execute("SELECT name FROM plain WHERE n = ? AND name <> ?", parameters=(n, "other"))
            assert cursor.fetchall() == [(f"row {n}",)]
        cursor.execute("SELECT count(*) AS c FROM plain")
        assert cursor.fetch_arrow_table().column("c").to_pylist() == [1000]
        try:
            cursor.execute("SELECT nmae FROM plain")
            raise AssertionError("a wrong name is an error")
        except adbc_driver_manager.Error as error:
            assert "no such column, is name meant? column=nmae" in str(error), error
            assert "line=1 column=8" in str(error), error
        catalogs = connection.adbc_get_objects(depth="all", table_name_filter="plain").read_all().to_pylist()
        [catalog] = catalogs
        tables = {
            schema["db_schema_name"]: schema["db_schema_tables"] for schema in catalog["catalog_db_schemas"]
        }
        [table] = tables["public"]
        columns = [column["column_name"] for column in table["table_columns"]]
        assert table["table_type"] == "TABLE" and {"n", "name", "eventTime"} <= set(columns), table
        assert "n" in connection.adbc_get_table_schema("plain", db_schema_filter="public").names
        assert connection.adbc_get_table_types() == ["TABLE"]
        assert connection.adbc_get_info()["vendor_name"] == "sanderling"
    if token:
        for wrong in (None, "wrong"):
            try:
                with adbc(wrong) as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                raise AssertionError("a token is asked for")
            except adbc_driver_manager.Error as error:
                assert "UNAUTHENTICATED" in str(error).upper(), error


def psql(*commands, check=True):
    environment = dict(os.environ, PGPASSWORD=token or "", PGCONNECT_TIMEOUT="10", PAGER="cat")
    arguments = ["psql", "-X", "-h", host, "-p", port, "-U", "sanderling", "-d", "sanderling"]
    for command in commands:
        arguments += ["-c", command]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, (commands, done.stdout, done.stderr)
    return done.stdout + done.stderr


def running():
    request = urllib.request.Request(f"http://{http}/v1/queries")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def ask_psql():
    for command in (r"\dt", r"\d"):
        assert "plain" in psql(command), command
    assert "eventTime" in psql(r"\d plain")
    assert "public" in psql(r"\dn")
    assert "sanderling" in psql(r"\l")
    assert "row 5" in psql("PREPARE p AS SELECT 1", "SELECT name FROM plain WHERE n = 5", check=False)
    wrong = psql("SELECT n,\n  nmae FROM plain", check=False)
    assert "LINE 2:   nmae FROM plain" in wrong and "\n          ^" in wrong, wrong
    late = psql("SET statement_timeout = '50ms'", "SELECT sum(value) FROM generate_series(1, 1000000000000)", check=False)
    assert "query takes longer than it may" in late, late
    # Ctrl-C.
    environment = dict(os.environ, PGPASSWORD=token or "")
    endless = "SELECT sum(value) FROM generate_series(1, 1000000000001)"
    arguments = ["psql", "-X", "-h", host, "-p", port, "-U", "sanderling", "-d", "sanderling", "-c", endless]
    asked = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    give_up = time.monotonic() + 60
    while not any(query["sql"] == endless for query in running()):
        assert time.monotonic() < give_up, "a query that runs is not listed"
        time.sleep(0.05)
    asked.send_signal(signal.SIGINT)
    asked.wait(60)
    assert not any(query["sql"] == endless for query in running())
    assert "query was cancelled" in asked.stderr.read()


ask_adbc()
ask_psql()
print("ADBC and psql: answers, parameters, tables, mistakes, cancelling" + (", tokens" if token else ""))

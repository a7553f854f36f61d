"""Stock clients against a running server: argv = addresses of the HTTP, Flight and Postgres doors."""

import json
import sys
import time
import urllib.request

import psycopg
import pyarrow as pa
import pyarrow.flight as flight

http, flight_door, postgres = sys.argv[1:4]
ROWS = 1000


def send_plain(client):
    """As any Flight client does: no metadata of ours."""
    table = pa.table({"n": list(range(ROWS)), "name": [f"row {n}" for n in range(ROWS)]})
    descriptor = flight.FlightDescriptor.for_path("plain")
    writer, reader = client.do_put(descriptor, table.schema)
    for batch in table.to_batches(max_chunksize=100):
        writer.write_batch(batch)
        ack = json.loads(reader.read().to_pybytes())
        assert ack["events"] == 100 and not ack["duplicate"], ack
    writer.done_writing()
    writer.close()


def send_with_key(client):
    """With a batch key: sent twice, kept once."""
    batch = pa.record_batch({"n": [1, 2, 3]})
    header = {"emitter": "01890a5d-ac96-774b-bcce-b302099a8057", "sequence": 0}
    for attempt in range(2):
        writer, reader = client.do_put(flight.FlightDescriptor.for_path("keyed"), batch.schema)
        writer.write_with_metadata(batch, json.dumps(header).encode())
        ack = json.loads(reader.read().to_pybytes())
        assert ack == {"sequence": 0, "events": 3, "duplicate": attempt == 1}, ack
        writer.done_writing()
        writer.close()


def postgres_rows(query, parameters=None, deadline=20.0):
    """Rows of a query, asked until there are some: a dataset's table is made a moment after its first ack."""
    host, port = postgres.rsplit(":", 1)
    give_up = time.monotonic() + deadline
    while True:
        try:
            with psycopg.connect(host=host, port=int(port), user="sanderling", dbname="sanderling") as connection:
                rows = connection.execute(query, parameters).fetchall()
                if rows and rows[0][0]:
                    return rows
        except psycopg.Error:
            if time.monotonic() > give_up:
                raise
        assert time.monotonic() < give_up, query
        time.sleep(0.05)


def http_query(query):
    request = urllib.request.Request(f"http://{http}/v1/query?format=ndjson", data=query.encode())
    with urllib.request.urlopen(request) as response:
        return [json.loads(line) for line in response.read().splitlines() if line]


def wait_for(count, query):
    give_up = time.monotonic() + 20
    while (rows := postgres_rows(query))[0][0] != count:
        assert time.monotonic() < give_up, (query, rows, count)
        time.sleep(0.05)


client = flight.connect(f"grpc://{flight_door}")
send_plain(client)
send_with_key(client)
wait_for(ROWS, "SELECT count(*) FROM plain")
wait_for(3, "SELECT count(*) FROM keyed")
assert postgres_rows("SELECT sum(n), max(name) FROM plain WHERE n < %s", (10,)) == [(45, "row 9")]
assert http_query("SELECT count(*) AS c FROM PLAIN")[0]["c"] == ROWS
reader = client.do_get(flight.Ticket(json.dumps({"kind": "query", "sql": "SELECT N FROM plain ORDER BY n LIMIT 3"}).encode()))
assert reader.read_all().column("n").to_pylist() == [0, 1, 2]
reader = client.do_get(flight.Ticket(json.dumps({"kind": "stream", "dataset": "plain", "follow": False}).encode()))
assert sorted(reader.read_all().column("n").to_pylist()) == list(range(ROWS))
print("pyarrow.flight sent and read, psycopg and urllib read: all rows, each once")

"""Sends record batches to Sanderling over stock Arrow Flight: numbered, acked in order, each kept once.

A batch without an ack is sent again under its key (emitter, epoch, sequence), after a wait that doubles, and the
server drops the twin. What is not acked dies with the process. One thread at a time.
As a program, it sends NDJSON from standard input: python sanderling_client.py grpc://127.0.0.1:8081 numbers
"""

import collections
import itertools
import json
import random
import sys
import time
import uuid

import pyarrow as pa
import pyarrow.flight as flight

WAIT_MIN, WAIT_MAX = 0.01, 5.0  # seconds between attempts
FAILURES = (pa.ArrowException, OSError, KeyError)  # what Flight makes of a status


class Refused(Exception):
    """The server refused batches for good; `batches` are they, with the server's reasons."""

    def __init__(self, batches):
        super().__init__(f"server refused batches for good: {batches[0][1]} batches={len(batches)}")
        self.batches = batches


class Sender:
    """Batches of one dataset, from one emitter. `acked` counts events."""

    def __init__(self, address, dataset, in_flight=64, give_up_after=None, durability=None):
        """`in_flight`: batches without an ack, at most. `give_up_after`: seconds without any ack until a call fails
        (None: never); the next call goes on. `durability`: memory, durable or queryable."""
        self.acked = 0
        self._address, self._dataset, self._in_flight = address, dataset, in_flight
        self._give_up_after = give_up_after
        self._asked = {"durability": durability} if durability else {}
        self._emitter, self._epoch, self._next = str(uuid.uuid4()), 0, 0
        self._pending = collections.deque()  # [sequence, batch, time in µs], the oldest first
        self._sent = 0  # how many of them are on the stream that is open
        self._refused = []
        self._client = self._writer = self._acks = self._schema = None

    def send(self, batch):
        """Sends a record batch (up to 16 MiB); waits for acks when too many batches are in flight."""
        if batch.num_rows:
            self._pending.append([self._next, batch, time.time_ns() // 1000])
            self._next += 1
            self._until(self._in_flight)

    def flush(self):
        """Returns when all that was sent is acked; raises Refused if some was refused."""
        self._until(0)
        refused, self._refused = self._refused, []
        if refused:
            raise Refused(refused)

    def close(self):
        self.flush()
        self._hang_up()

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _trace):
        self._hang_up() if kind else self.close()

    def _until(self, left):
        """Sends and reads acks until so many batches are left without one."""
        wait, since = WAIT_MIN, time.monotonic()
        while True:
            try:
                while self._sent < len(self._pending) or len(self._pending) > left:
                    if self._sent == len(self._pending) or not self._write(self._pending[self._sent]):
                        self._read_ack()
                        wait, since = WAIT_MIN, time.monotonic()
                return
            except FAILURES as error:
                if self._failed(error):
                    continue
            if self._give_up_after is not None and time.monotonic() - since > self._give_up_after:
                raise flight.FlightUnavailableError(f"no ack for {self._give_up_after} s, call again to go on")
            time.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, WAIT_MAX)

    def _write(self, numbered):
        """Puts a batch on the stream; says no when acks are to be read first, since a stream has one schema."""
        sequence, batch, generated_at_us = numbered
        if self._writer is not None and batch.schema != self._schema:
            if self._sent:
                return False
            self._hang_up()
        if self._writer is None:
            self._client = flight.connect(self._address)
            descriptor = flight.FlightDescriptor.for_path(self._dataset)
            self._writer, self._acks = self._client.do_put(descriptor, batch.schema)
            self._schema = batch.schema
        header = {"emitter": self._emitter, "epoch": self._epoch, "sequence": sequence} | self._asked
        self._sent += 1
        self._writer.write_with_metadata(batch, json.dumps(header | {"generated_at_us": generated_at_us}).encode())
        return True

    def _read_ack(self):
        message = self._acks.read()
        if message is None:
            self._writer.close()  # raises what the server said
            raise flight.FlightUnavailableError("server has ended the stream")
        ack = json.loads(message.to_pybytes())
        if ack["sequence"] != self._pending[0][0]:
            raise flight.FlightInternalError(f"ack is not of the oldest batch sequence={ack['sequence']}")
        self._pending.popleft()
        self._sent -= 1
        self.acked += ack["events"]

    def _failed(self, error):
        """The stream has ended. Acks come in order, so the failure is about the oldest batch. Says whether to go on
        without a wait."""
        was_sent, text = self._sent > 0, str(error)
        self._hang_up()
        if not was_sent or not isinstance(error, pa.ArrowInvalid) or "resource exhausted" in text:
            return False
        if "precondition failed" in text:  # a batch before it was refused, and has left a hole: a new epoch
            if self._pending[0][0] == 0:
                return False
            self._epoch += 1
            for self._next, numbered in enumerate(self._pending):
                numbered[0] = self._next
            self._next += 1
            return True
        self._refused.append((self._pending.popleft()[1], text))
        return True

    def _hang_up(self):
        self._sent = 0
        for end in filter(None, (self._writer, self._client)):
            try:
                end.close()
            except FAILURES:
                pass  # what it failed of was told before
        self._writer = self._client = None


if __name__ == "__main__":
    with Sender(*sys.argv[1:3]) as sender:
        while lines := list(itertools.islice(sys.stdin, 1000)):
            sender.send(pa.RecordBatch.from_pylist([json.loads(line) for line in lines]))
    print(f"acked {sender.acked} events", file=sys.stderr)

#!/usr/bin/env python3
"""Shares of the server's CPU by stage, from folded stacks: `stages.py < folded`.

A stack belongs to the first stage below that one of its functions belongs to.
"""

import collections
import re
import sys

STAGES = [
    ("merging of files", r"^rewrite;|warehouse::(compact|rewrite|maintenance|vacuum)"),
    ("encoding of files", r"^encode;|ArrowWriter|parquet::(arrow::arrow_writer|column|file::writer|util)"),
    ("hot tail", r"warehouse::(tail|table|hot)"),
    ("decoding of events", r"event::"),
    ("queries", r"datafusion|sql::"),
    ("queue", r"queue::"),
    ("other work on tables", r"warehouse::"),
    ("job", r"processor::|flow::"),
    ("doors", r"aggregator::|tonic|h2::|hyper|arrow_flight|prost"),
    ("runtime", r"tokio::"),
]


def main():
    stages = [(name, re.compile(pattern)) for name, pattern in STAGES]
    samples, inner = collections.Counter(), collections.defaultdict(collections.Counter)
    for line in sys.stdin:
        stack, count = line.rsplit(" ", 1)
        stage = next((name for name, pattern in stages if pattern.search(stack)), "else")
        samples[stage] += int(count)
        inner[stage][stack.rsplit(";", 1)[-1]] += int(count)
    total = sum(samples.values())
    print("| stage | CPU, % | most of it in |\n|---|---|---|")
    for stage, count in samples.most_common():
        most = ", ".join(f"`{name[:48]}` {100 * n / total:.1f}" for name, n in inner[stage].most_common(3))
        print(f"| {stage} | {100 * count / total:.1f} | {most} |")


if __name__ == "__main__":
    main()

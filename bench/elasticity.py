#!/usr/bin/env python3
"""Draws what the example `load_step` of the crate `processor` printed: `elasticity.py step.csv > step.svg`."""

import csv
import sys

WIDTH, HEIGHT, LEFT, TOP = 760, 110, 60, 30
PANELS = [
    ("events a second: load, and done (thin)", [("load", "#7570b3", 2), ("done", "#d95f02", 1)]),
    ("workers: given, and wanted (thin)", [("workers", "#1b9e77", 2), ("wanted", "#d95f02", 1)]),
    ("seconds: age of the oldest batch, and p99 of latency (thin)", [("lag_s", "#7570b3", 2), ("p99_s", "#d95f02", 1)]),
]


def panel(rows, title, lines, top):
    top_value = max(max(float(row[name]) for row in rows) for name, _, _ in lines) or 1
    across = (WIDTH - LEFT - 20) / max(len(rows) - 1, 1)
    yield f'<text x="{LEFT}" y="{top - 8}" fill="#555">{title}</text>'
    yield f'<path d="M{LEFT} {top}v{HEIGHT}h{WIDTH - LEFT - 20}" fill="none" stroke="#999"/>'
    yield f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{top_value:g}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>'
    for name, colour, thick in lines:
        points = " ".join(
            f"{LEFT + n * across:.1f},{top + HEIGHT * (1 - float(row[name]) / top_value):.1f}"
            for n, row in enumerate(rows)
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    height = TOP + len(PANELS) * (HEIGHT + 40) + 10
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13">\n<rect width="{WIDTH}" height="{height}" fill="white"/>'
    )
    for n, (title, lines) in enumerate(PANELS):
        print("\n".join(panel(rows, title, lines, TOP + n * (HEIGHT + 40))))
    seconds = rows[-1]["second"]
    print(f'<text x="{WIDTH - 20}" y="{height - 12}" text-anchor="end">{seconds} s</text>\n</svg>')


if __name__ == "__main__":
    main()

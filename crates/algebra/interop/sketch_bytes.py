"""Sketches by Apache DataSketches for Python (its C++ core): `make FOLDER` writes them, `check FOLDER OTHER` reads another's.

A file is FAMILY-ITEMS-COUNT.bin: a sketch of the items 0..COUNT as 64-bit integers, as the strings "item-0" and on, or
as floats. A check reads the other's sketch, compares its answers with those of one made here of the same items, merges
it with one of other items, and compares again.
"""

import sys
from math import isqrt
from pathlib import Path

import datasketches as ds

COUNTS = [0, 1, 10, 1000, 50_000]
LG_K = 12


def longs(first, last):
    return range(first, last)


def strings(first, last):
    return (f"item-{i}" for i in range(first, last))


ITEMS = {"longs": longs, "strings": strings}


def filled(sketch, items):
    for item in items:
        sketch.update(item)
    return sketch


def hll(items):
    return filled(ds.hll_sketch(LG_K, ds.HLL_4), items)


def hll_merged(*sketches):
    union = ds.hll_union(LG_K)
    for sketch in sketches:
        union.update(sketch)
    return union.get_result(ds.HLL_8)


def theta(items):
    return filled(ds.update_theta_sketch(LG_K), items).compact()


def theta_merged(*sketches):
    union = ds.theta_union(LG_K)
    for sketch in sketches:
        union.update(sketch)
    return union.get_result()


def kll(first, last):
    return filled(ds.kll_doubles_sketch(200), map(float, range(first, last)))


def tdigest(first, last):
    return filled(ds.tdigest_double(200), map(float, range(first, last)))


def frequent(first, last):
    return filled(ds.frequent_strings_sketch(6), (f"item-{isqrt(i)}" for i in range(first, last)))


def close(what, left, right, tolerance):
    assert abs(left - right) <= tolerance, f"{what}: {left} and {right} differ by more than {tolerance}"


def make(folder):
    for count in COUNTS:
        for name, items in ITEMS.items():
            write(folder, f"hll-{name}-{count}", hll(items(0, count)).serialize_compact())
            write(folder, f"theta-{name}-{count}", theta(items(0, count)).serialize())
        write(folder, f"kll-doubles-{count}", kll(0, count).serialize())
        write(folder, f"tdigest-doubles-{count}", tdigest(0, count).serialize())
        write(folder, f"frequent-strings-{count}", frequent(0, count).serialize())


def write(folder, name, data):
    (folder / f"{name}.bin").write_bytes(data)


def check(folder):
    checked = 0
    for path in sorted(folder.glob("*.bin")):
        family, name, count = path.stem.split("-")
        checks = {"hll": check_hll, "theta": check_theta, "kll": check_kll, "tdigest": check_tdigest}
        checks["frequent"] = check_frequent
        if family not in checks:
            continue
        checks[family](path.name, path.read_bytes(), name, int(count))
        checked += 1
    assert checked >= 5 * len(COUNTS), f"too few files: {checked}"
    print(f"read and merged {checked} sketches of {folder.name}")


def check_hll(what, data, name, count):
    theirs = ds.hll_sketch.deserialize(data)
    items = ITEMS[name]
    # Merged, both answer from their registers alone.
    same = hll_merged(theirs, theirs).get_estimate()
    close(what, same, hll_merged(hll(items(0, count)), hll(items(0, count))).get_estimate(), 1e-6 * count)
    both = hll_merged(theirs, hll(items(count // 2, count + 100))).get_estimate()
    whole = hll_merged(hll(items(0, count)), hll(items(count // 2, count + 100))).get_estimate()
    close(what + " merged", both, whole, 1e-6 * (count + 100))


def check_theta(what, data, name, count):
    theirs = ds.compact_theta_sketch.deserialize(data)
    items = ITEMS[name]
    close(what, theirs.get_estimate(), count, 0.06 * count)
    both = theta_merged(theirs, theta(items(count // 2, count + 100))).get_estimate()
    close(what + " merged", both, count + 100, 0.06 * (count + 100))
    if count <= 1 << LG_K:
        close(what + " exact", theirs.get_estimate(), count, 0.0)


def check_kll(what, data, _name, count):
    theirs = ds.kll_doubles_sketch.deserialize(data)
    assert theirs.n == count, what
    ours = kll(count, 2 * count)
    ours.merge(theirs)
    assert ours.n == 2 * count, what
    for rank in [0.01, 0.5, 0.99] if count else []:
        close(f"{what} at {rank}", ours.get_quantile(rank), rank * 2 * count, 1 + 0.03 * 2 * count)


def check_tdigest(what, data, _name, count):
    theirs = ds.tdigest_double.deserialize(data)
    assert theirs.get_total_weight() == count, what
    ours = tdigest(count, 2 * count)
    ours.merge(theirs)
    for rank in [0.01, 0.5, 0.99] if count else []:
        close(f"{what} at {rank}", ours.get_quantile(rank), rank * 2 * count, 1 + 0.02 * 2 * count)


def check_frequent(what, data, _name, count):
    theirs = ds.frequent_strings_sketch.deserialize(data)
    assert theirs.total_weight == count, what
    ours = frequent(count, 2 * count)
    ours.merge(theirs)
    truth = {}
    for i in range(2 * count):
        truth[f"item-{isqrt(i)}"] = truth.get(f"item-{isqrt(i)}", 0) + 1
    for item, n in truth.items():
        assert ours.get_lower_bound(item) <= n <= ours.get_upper_bound(item), f"{what}: {item}"


if __name__ == "__main__":
    verb, folder = sys.argv[1], Path(sys.argv[2])
    {"make": make, "check": check}[verb](folder)

"""Runs the statements of a file with DuckDB or Flink, writes the sums as lines `key,sum`, prints what it took as JSON.

query.py duckdb|flink STATEMENTS INPUT OUTPUT_FOLDER
"""

import glob
import json
import os
import string
import sys
import time

START = time.monotonic()
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process):
    """User and system time of a process, without its children."""
    with open(f"/proc/{process}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def peak_bytes(process):
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def measured(process, run):
    """What `run` took: its own time and CPU time, and of the whole process start-up and peak memory."""
    cpu, began = cpu_seconds(process), time.monotonic()
    run()
    return {
        "seconds": time.monotonic() - began,
        "cpu_seconds": cpu_seconds(process) - cpu,
        "peak_bytes": peak_bytes(process),
        "startup_seconds": began - START,
        "startup_cpu_seconds": cpu,
    }


def duckdb_sums(statements, folder):
    import duckdb

    database = duckdb.connect()
    database.execute("SET threads = 2")
    database.execute("SET preserve_insertion_order = false")
    taken = measured("self", lambda: [database.execute(statement) for statement in statements])
    database.execute(f"COPY sums TO '{folder}/sums.csv' (HEADER false)")
    return taken | {"version": duckdb.__version__}


def flink_sums(statements, folder):
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment
    from pyflink.version import __version__

    options = Configuration()
    options.set_string("parallelism.default", "2")
    settings = EnvironmentSettings.new_instance().in_batch_mode().with_configuration(options).build()
    tables = TableEnvironment.create(settings)
    for statement in statements[:-1]:
        tables.execute_sql(statement)
    # The virtual machine is this process's only child.
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        machine = int(children.read().split()[0])
    # It has no table in memory to leave the sums in, so writing the files counts.
    return measured(machine, lambda: tables.execute_sql(statements[-1]).wait()) | {"version": __version__}


def main():
    engine, path, source, folder = sys.argv[1:]
    os.makedirs(folder)
    with open(path) as file:
        text = string.Template(file.read()).substitute(INPUT=source, OUTPUT=folder)
    sums = {"duckdb": duckdb_sums, "flink": flink_sums}[engine]
    taken = sums(text.split(";"), folder)
    taken["files"] = [path for path in glob.glob(f"{folder}/*") if os.path.isfile(path)]
    print(json.dumps(taken))


main()

"""Runs contestants in turn, checks that their answers agree, and writes a report: Markdown, JSON and a plot.

Needs nothing but Python. Each contestant is a command that prints JSON: `seconds`, `cpu_seconds` and `peak_bytes`,
and `digest` or `files` (lines `key,sum`) as its answer. See docs/benchmarks/README.md.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from statistics import median

HERE = pathlib.Path(__file__).resolve().parent
BASE = "hand, 2 threads"
TIME_LIMIT_SECONDS = 1800
TITLES = {"words": "Word count", "keyed": "Sums by key", "linear": "Cost by length of the input"}


def processor_ticks():
    """Of all processors since the start: busy ones, and those stolen by other virtual machines."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return user + nice + system + irq + softirq, steal


def run_once(contestant, arguments):
    """One run of a command: what it says and what the system says of it."""
    shutil.rmtree(arguments.output, ignore_errors=True)
    ticks = os.sysconf("SC_CLK_TCK")
    allowed = sorted(os.sched_getaffinity(0))
    cpus = allowed[:1] if contestant["cpus"] == "first" else allowed[:2]
    busy, steal = processor_ticks()
    began = time.monotonic()
    process = subprocess.Popen(
        contestant["command"].split(" "),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    try:
        printed, errors = process.communicate(timeout=TIME_LIMIT_SECONDS)
    except KeyboardInterrupt:
        process.kill()
        raise
    except subprocess.TimeoutExpired:
        process.kill()
        sys.exit(f"took more than {TIME_LIMIT_SECONDS} s: contestant={contestant['name']}")
    if process.returncode != 0:
        sys.exit(f"failed: contestant={contestant['name']}\n{errors}")
    seconds = time.monotonic() - began
    busy_after, steal_after = processor_ticks()
    run = json.loads(printed.strip().splitlines()[-1])
    run["process_seconds"] = seconds
    run["busy_processors"] = (busy_after - busy) / ticks / seconds
    run["steal_percent"] = 100 * (steal_after - steal) / ticks / seconds / os.cpu_count()
    if "files" in run:
        digest = subprocess.run([arguments.peers, "digest", *run.pop("files")], capture_output=True, check=True)
        run.update(json.loads(digest.stdout))
        shutil.rmtree(arguments.output)
    return run


def check_answers(contestants):
    """Ends the program unless all that took the same number of elements have the same answer."""
    answers = {}
    for contestant in contestants:
        for run in contestant["runs"]:
            answer = (run["keys"], run["digest"])
            expected = answers.setdefault(contestant["elements"], (answer, contestant["name"]))
            if answer != expected[0]:
                sys.exit(f"answers differ: {contestant['name']} {answer}, {expected[1]} {expected[0]}")


def run_rounds(contestants, arguments):
    for round_ in range(arguments.runs):
        for contestant in contestants:
            if round_ < contestant["most"]:
                run = run_once(contestant, arguments)
                contestant["runs"].append(run)
                print(
                    f"{round_ + 1}: {contestant['name']}: {run['seconds']:.2f} s, {run['cpu_seconds']:.2f} CPU s",
                    file=sys.stderr,
                    flush=True,
                )
        check_answers(contestants)


def read_list(path):
    contestants = []
    for line in open(path):
        name, cpus, most, elements, command = line.rstrip("\n").split("\t")
        contestants.append(
            {"name": name, "cpus": cpus, "most": int(most), "elements": int(elements), "command": command, "runs": []}
        )
    return contestants


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=HERE).stdout.splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def locked_version(crate):
    lock = (HERE / "peers" / "Cargo.lock").read_text()
    versions = re.findall(f'name = "{crate}"\nversion = "([^"]*)"', lock)
    return max(versions, key=lambda version: [int(number) for number in version.split(".")])


def circumstances(contestants):
    processors = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)
    versions = {
        "sanderling": first_line("git", "rev-parse", "--short", "HEAD"),
        "rustc": first_line("rustc", "--version").removeprefix("rustc "),
        "timely": locked_version("timely"),
        "hashbrown": locked_version("hashbrown"),
        "foldhash": locked_version("foldhash"),
    }
    for contestant in contestants:
        for run in contestant["runs"]:
            if "version" in run:
                versions[contestant["name"].split(",")[0]] = run.pop("version")
    if "Flink" in versions:
        java = os.path.join(os.environ["JAVA_HOME"], "bin", "java")
        versions["Java"] = first_line(java, "--version")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processors[0] if processors else platform.machine(),
        "processors": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "versions": versions,
    }


def summary(contestant, contestants):
    """Medians of a contestant; ratios are medians of the ratios to the hand-written loop in the same round."""
    base = next(b for b in contestants if b["name"] == BASE and b["elements"] == contestant["elements"])

    def ratio(figure):
        pairs = zip(base["runs"], contestant["runs"])
        return median(hand[figure] / max(run[figure], 0.01) for hand, run in pairs)

    figures = {
        figure: median(run[figure] for run in contestant["runs"])
        for figure in ("seconds", "cpu_seconds", "peak_bytes", "process_seconds", "busy_processors")
    }
    if "startup_seconds" in contestant["runs"][0]:
        figures["startup_seconds"] = median(run["startup_seconds"] for run in contestant["runs"])
    return figures | {"speed_of_hand": ratio("seconds"), "cpu_speed_of_hand": ratio("cpu_seconds")}


def markdown(workload, report):
    machine, linear = report["machine"], workload == "linear"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    runs = [run for contestant in report["contestants"] for run in contestant["runs"]]
    steal = max(run["steal_percent"] for run in runs)
    lines = [
        f"# {TITLES[workload]}",
        "",
        f"Written by `bench/run {workload}`; [README.md](README.md) says what each contestant does.",
        "",
        f"{machine['date']}, {machine['processors']} × {machine['processor']}, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}. {versions}. Steal at most {steal:.1f} % in a run.",
        "",
    ]
    if report["note"]:
        lines += [report["note"], ""]
    answers = sorted({(c["elements"], c["runs"][0]["keys"], c["runs"][0]["digest"]) for c in report["contestants"]})
    sizes = "; ".join(f"{elements / 1e6:,.0f} M elements with {keys:,} keys" for elements, keys, _ in answers)
    lines += [f"{sizes}.", "", f"![CPU seconds]({workload}.svg)", ""]
    per = "ns an element" if linear else "M elements a second"
    head = ["contestant", "runs", "seconds", "CPU s", "peak MB", per, "÷ hand, CPU", "÷ hand, time"]
    if linear:
        head[1:1] = ["elements"]
        head[6] = "CPU ns an element"
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for contestant in report["contestants"]:
        s, count = contestant["summary"], contestant["elements"]
        speed = s["cpu_seconds"] / count * 1e9 if linear else count / max(s["seconds"], 0.01) / 1e6
        cells = [contestant["name"], str(len(contestant["runs"]))]
        cells[1:1] = [f"{count / 1e6:,.0f} M"] if linear else []
        cells += [f"{s['seconds']:.2f}", f"{s['cpu_seconds']:.2f}", f"{s['peak_bytes'] / 1e6:,.0f}", f"{speed:.1f}"]
        cells += [f"{s['cpu_speed_of_hand']:.2f}", f"{s['speed_of_hand']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Medians. The last two columns compare with the hand-written loop on two threads in the same round, by CPU time "
        "and by time: 1 is as fast, 0.5 takes twice as much.",
    ]
    for contestant in report["contestants"]:
        if "startup_seconds" in contestant["summary"]:
            s = contestant["summary"]
            lines.append(
                f"{contestant['name'].split(',')[0]}'s start-up is not in its figures: {s['startup_seconds']:.1f} s."
            )
    lines += ["", "## All runs", "", "| contestant | seconds / CPU s / processors busy, by anyone |", "|---|---|"]
    for contestant in report["contestants"]:
        name = contestant["name"] + (f", {contestant['elements'] / 1e6:,.0f} M" if linear else "")
        cells = (f"{r['seconds']:.2f} / {r['cpu_seconds']:.2f} / {r['busy_processors']:.1f}" for r in contestant["runs"])
        lines.append(f"| {name} | {' · '.join(cells)} |")
    lines += ["", "All answers agree: " + "; ".join(f"{keys:,} keys, digest `{digest}`" for _, keys, digest in answers) + "."]
    return "\n".join(lines) + "\n"


def plot(report):
    """Bars of CPU seconds, and times as marks on them."""
    bars = [(c["name"], c["elements"], c["summary"]) for c in report["contestants"]]
    linear = len({elements for _, elements, _ in bars}) > 1
    unit = "CPU ns an element (mark: ns)" if linear else "CPU seconds (mark: seconds)"
    scaled = [
        (f"{name}, {elements // 10**6} M" if linear else name, *(s[f] * (1e9 / elements if linear else 1) for f in ("cpu_seconds", "seconds")))
        for name, elements, s in bars
    ]
    longest = max(max(cpu, seconds) for _, cpu, seconds in scaled)
    height = 26 * len(scaled) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="760" height="{height}" fill="white"/><text x="260" y="20" fill="#555">{unit}</text>',
    ]
    for row, (name, cpu, seconds) in enumerate(scaled):
        y, ours = 32 + 26 * row, name.startswith("Local")
        width, mark = 420 * cpu / longest, 260 + 420 * seconds / longest
        parts.append(
            f'<text x="250" y="{y + 14}" text-anchor="end">{name}</text>'
            f'<rect x="260" y="{y}" width="{width:.1f}" height="18" fill="{"#d95f02" if ours else "#7570b3"}"/>'
            f'<path d="M{mark:.1f} {y - 2}v22" stroke="black" stroke-width="2"/>'
            f'<text x="{max(260 + width, mark) + 6:.1f}" y="{y + 14}">{cpu:.1f}</text>'
        )
    return "\n".join(parts) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=TITLES)
    parser.add_argument("list", help="contestants: name, processors, most runs, elements, command; between tabs")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--peers", required=True, help="the program of the contestants in Rust")
    parser.add_argument("--output", required=True, help="the folder where contestants write files")
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    contestants = read_list(arguments.list)
    # A terminal's Ctrl-C and a `kill` alike end the runs, and the report has those that were complete.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_rounds(contestants, arguments)
    except KeyboardInterrupt:
        left_out = [contestant["name"] for contestant in contestants if not contestant["runs"]]
        arguments.note += " Interrupted" + (f"; left out: {'; '.join(left_out)}." if left_out else ".")
        contestants = [contestant for contestant in contestants if contestant["runs"]]
    check_answers(contestants)
    machine = circumstances(contestants)
    for contestant in contestants:
        contestant["summary"] = summary(contestant, contestants)
        del contestant["command"], contestant["most"]
    report = {"workload": arguments.workload, "note": arguments.note.strip(), "machine": machine, "contestants": contestants}
    (arguments.out / f"{arguments.workload}.json").write_text(json.dumps(report, indent=1) + "\n")
    (arguments.out / f"{arguments.workload}.svg").write_text(plot(report))
    (arguments.out / f"{arguments.workload}.md").write_text(markdown(arguments.workload, report))
    print(f"report: {arguments.out / arguments.workload}.md", file=sys.stderr)


main()

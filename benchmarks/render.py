"""Makes tables and plots of the figures of `scale.py` and of `load.py`.

    python benchmarks/render.py [benchmarks/scale/figures.json | benchmarks/scale/load.json]

Writes `tables.md` or `load.md`, and the plots, beside the file. The performance page shows them.
"""

import argparse
import json
from math import log10
from pathlib import Path

HERE = Path(__file__).parent
WIDTH, HEIGHT, MARGIN = 460, 260, 52
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37")
ROWS = ("queue from a worker", "queue to a worker", "Pool(16).map of no-ops, chunksize 1", "value counted by 4 under its lock")


def plot(title, unit, series):
    """Draws a line for each name. Both axes are logarithmic, since the numbers of processes double."""
    points = [point for line in series.values() for point in line]
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    # 1, 2 and 5 in each decade.
    marks = [step * 10**power for power in range(-3, 7) for step in (1, 2, 5)]
    bottom = max((mark for mark in marks if mark <= lowest), default=lowest)
    top = min((mark for mark in marks if mark >= highest), default=highest)
    numbers = sorted({x for x, _ in points})

    def place(x, y):
        across = numbers.index(x) / max(len(numbers) - 1, 1)
        up = (log10(y) - log10(bottom)) / max(log10(top) - log10(bottom), 1e-9)
        return MARGIN + across * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{MARGIN}" y="20" font-size="13">{title}</text>',
    ]
    for mark in [mark for mark in marks if bottom <= mark <= top]:
        _, y = place(numbers[0], mark)
        out.append(f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        out.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>')
    out += [f'<text x="{place(x, bottom)[0]:.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{x}</text>' for x in numbers]
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}" text-anchor="middle">processes ({unit} upwards)</text>')
    for n, (name, line) in enumerate(series.items()):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in sorted(line))
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[n]}" stroke-width="2"/>')
        out.append(f'<text x="{WIDTH - MARGIN}" y="{20 + 14 * n}" text-anchor="end" fill="{COLOURS[n]}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def table(head, rows):
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def render(path):
    result = json.loads(path.read_text())
    delays = {int(delay): figures for delay, figures in result["delays"].items()}
    names = {delay: f"PING {figures['ping_us']} µs" for delay, figures in delays.items()}
    parts = [
        f"Measured at {result['commit']}, {result['machine']}; the workers, the program and the store share the processors."
    ]
    head = ["a second; µs of the store's processor for each", *names.values()]
    rows = [["bare server: RPUSH and BLPOP, one by one", *[f["bare_items_per_second"] for f in delays.values()]]]
    rows += [[row, *[f"{f[row]['per_second']:,}; {f[row]['server_us']}" for f in delays.values()]] for row in ROWS]
    parts.append(table(head, rows))
    for delay, figures in delays.items():
        together = figures["together"]
        head = ["N processes, " + names[delay], *together]
        rows = [
            ["items a second through two queues, a lock and a value", *[f["per_second"] for f in together.values()]],
            ["µs of the store's processor an item", *[f["server_us"] for f in together.values()]],
            ["all started and at work, s", *[f["start_seconds"] for f in together.values()]],
            ["all ended, s", *[f["end_seconds"] for f in together.values()]],
            ["exit codes other than 0", *[f["bad_exits"] for f in together.values()]],
            ["`Pool(N)` made, s", *[f["made_seconds"] for f in figures["pool"].values()]],
            ["its first map of N no-ops, s", *[f["first_map_seconds"] for f in figures["pool"].values()]],
            ["4 N tasks of 250 ms, against the ideal", *[f["efficiency"] for f in figures["pool"].values()]],
            ["its end, s", *[f["end_seconds"] for f in figures["pool"].values()]],
        ]
        parts.append(table(head, rows))
    for title, unit, part, key in (
        ("Items through two queues, a lock and a value", "items a second", "together", "per_second"),
        ("The common end of N processes", "seconds", "together", "end_seconds"),
    ):
        series = {names[d]: [(int(n), f[key] or 0.01) for n, f in figures[part].items()] for d, figures in delays.items()}
        picture = path.with_name(f"{key}.svg")
        picture.write_text(plot(title, unit, series))
        parts.append(f"![{title}]({picture.name})")
    path.with_name("tables.md").write_text("\n\n".join(parts) + "\n")


STORES = {"socket": "one node, UNIX socket", "one": "cluster of one node", "three": "cluster of three nodes"}
SCENARIOS = {
    "pool": "a pool's task and its result",
    "pairs": "an item between two workers, each pair with objects of its own",
    "common": "an item of all workers, which have one queue, lock and value",
}


def busiest(run):
    return max(node["us"] for node in run["nodes"])


def scripts(counts):
    return counts.get("fcall", 0) + counts.get("fcall_ro", 0)


def load_cell(run):
    if "nodes" not in run:
        return "failed"
    times = sorted((node["us"] for node in run["nodes"]), reverse=True)
    # A node of a cluster does a little even if it has none of the objects.
    times = [str(round(us)) for us in times if us > times[0] / 20]
    return f"{run['per_second']:,}; {' + '.join(times)}"


def render_load(path):
    result = json.loads(path.read_text())
    runs = {(run["store"], run["delay"], run["scenario"], run["workers"]): run for run in result["runs"]}
    numbers = sorted({run["workers"] for run in result["runs"] if not run["delay"]})
    delays = sorted({run["delay"] for run in result["runs"]})
    parts = [f"Measured at {result['commit']}, {result['machine']}; the workers and the nodes share the processors."]

    def row(name, cell, *key, among=numbers):
        found = [runs.get((*key, n)) for n in among]
        return [name, *[cell(run) if run else "" for run in found]]

    for scenario, title in SCENARIOS.items():
        rows = [row(name, load_cell, store, 0, scenario) for store, name in STORES.items()]
        parts.append(table([f"{title}: a second; µs of each node's processor, N workers", *numbers], rows))

    def capacity(run):
        return f"{1e6 / busiest(run):,.0f}" if "nodes" in run else "failed"

    rows = [
        row(f"`{scenario}`, {STORES[store]}", capacity, store, 0, scenario)
        for scenario in SCENARIOS
        for store in ("one", "three")
    ]
    parts.append(table(["operations a second when the busiest node has no time left, N workers", *numbers], rows))

    names = {scenario: runs.get(("socket", 0, scenario, 1024), {}) for scenario in SCENARIOS}
    counts = [run["nodes"][0] for run in names.values() if "nodes" in run]
    own = ("us", "connections", "bytes_in", "bytes_out")
    rows = [
        ["scripts", *[f"{scripts(one):.1f}" for one in counts]],
        ["commands, those in scripts included", *[f"{sum(v for k, v in one.items() if k not in own):.0f}" for one in counts]],
        ["bytes to the node", *[f"{one['bytes_in']:,.0f}" for one in counts]],
        ["bytes from the node", *[f"{one['bytes_out']:,.0f}" for one in counts]],
        ["connections in all", *[f"{one['connections']:,}" for one in counts]],
    ]
    head = ["for each operation, 1,024 workers, one node", *[f"`{name}`" for name, run in names.items() if "nodes" in run]]
    parts.append(table(head, rows))

    def at_rest(run):
        rest = run.get("a_second_at_rest")
        return f"{rest['us'] / 1000:.1f}; {scripts(rest):,.0f}" if rest else ""

    rows = [row(f"`{scenario}`", at_rest, "socket", 0, scenario) for scenario in SCENARIOS]
    parts.append(table(["workers that only wait, one node: ms of its processor a second; scripts a second", *numbers], rows))

    far = sorted({run["workers"] for run in result["runs"] if run["delay"]})
    head = ["one node at a distance: a second; µs of its processor, N workers", *far]
    rows = [
        row(f"`{scenario}`, {delay} µs each way", load_cell, "socket", delay, scenario, among=far)
        for scenario in SCENARIOS
        for delay in delays
    ]
    parts.append(table(head, rows))
    series = {
        f"pairs, {STORES[store]}": [
            (n, busiest(runs[key])) for n in numbers if "nodes" in runs.get(key := (store, 0, "pairs", n), {})
        ]
        for store in ("one", "three")
    }
    title = "An operation of pairs of workers"
    path.with_name("busiest_us.svg").write_text(plot(title, "µs of the busiest node", series))
    parts.append(f"![{title}](busiest_us.svg)")
    path.with_name("load.md").write_text("\n\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", nargs="?", type=Path, default=HERE / "scale/figures.json")
    path = parser.parse_args().file
    if "runs" in json.loads(path.read_text()):
        render_load(path)
    else:
        render(path)


if __name__ == "__main__":
    main()

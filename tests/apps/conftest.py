"""Shows the wall times of both runs side by side, at the end of the report."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter):
    rows = [
        (r.nodeid.partition("[")[2].rstrip("]") or r.nodeid.rpartition("::")[2], dict(r.user_properties))
        for r in terminalreporter.getreports("passed")
        if "ours" in dict(r.user_properties)
    ]
    if rows:
        terminalreporter.section("wall time, seconds")
        for name, times in rows:
            terminalreporter.line(f"{name:40} CPython {times['CPython']:6.1f}   here {times['ours']:6.1f}")

"""joblib on our workers."""

import json
import textwrap

import pytest

PROGRAM = """
    import os, sys, warnings
    import numpy as np
    from joblib import Parallel, delayed, parallel_backend

    big, small = np.arange(1_000_000, dtype=float)[::2] / 2, np.arange(10)

    def look(i, a):
        return i + a[i], os.getpid(), a.flags.writeable

    def fail(i):
        raise KeyError(i)

    def die(i):
        os._exit(3)

    def nested(i):
        return sum(Parallel(n_jobs=2)(delayed(abs)(j) for j in range(i)))

    if __name__ == "__main__":
        options = json_options
        results = Parallel(n_jobs=3, **options)(delayed(look)(i, big) for i in range(60))
        print([r[0] for r in results] == [2.0 * i for i in range(60)], os.getpid() not in {r[1] for r in results})
        print({r[2] for r in results}, {r[2] for r in Parallel(n_jobs=3, **options)(delayed(look)(i, small) for i in range(9))})
        try:
            Parallel(n_jobs=2, **options)(delayed(fail)(i) for i in range(4))
        except KeyError as e:
            print("raised", type(e.__cause__).__name__)
        print(Parallel(n_jobs=2, **options)(delayed(nested)(i) for i in range(4)))
        with parallel_backend("loky"):
            print(Parallel(n_jobs=2)(delayed(lambda x: x + 1)(i) for i in range(3)))
        if options.get("backend") != "multiprocessing":  # which joblib gives no generators
            print(list(Parallel(n_jobs=2, return_as="generator", **options)(delayed(abs)(-i) for i in range(3))))
"""


@pytest.mark.parametrize("options", [{}, {"backend": "loky"}, {"backend": "multiprocessing"}])
def test_parallel(run, tmp_path, options):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM).replace("json_options", repr(options)))
    summary = tmp_path / "summary.json"
    done = run("--summary", summary, program, timeout=100)
    assert done.stdout.splitlines() == [
        "True True",
        "{False} {True}",
        "raised _RemoteTraceback",
        "[0, 0, 1, 3]",
        "[1, 2, 3]",
        *(["[0, 1, 2]"] if options.get("backend") != "multiprocessing" else []),
    ], done.stderr
    report = json.loads(summary.read_text())
    assert len(report["processes"]) >= 3
    # 60 tasks have the array of 4 MB as an argument; it was sent once, and received once by each worker.
    assert report["store_bytes"] < 3 * 4_000_000


def test_a_dead_worker(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os
        from joblib import Parallel, delayed

        def die(i):
            os._exit(3)

        try:
            Parallel(n_jobs=2)(delayed(die)(i) for i in range(2))
        except Exception as e:
            print(type(e).__name__, "EXIT(3)" in str(e))
    """)
    )
    assert run(program).stdout == "TerminatedWorkerError True\n"

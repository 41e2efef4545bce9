"""Runs a program as `python script.py` or `python -m module` would.

This includes `__main__`, `sys.argv`, `sys.path[0]`, tracebacks and the exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import runpy
import signal
import sys
import types
from importlib.machinery import BuiltinImporter, ModuleSpec, SourceFileLoader
from multiprocessing import util
from pathlib import Path
from typing import Any

from serverless_mp import shadows


def preload() -> None:
    """Imports everything that starts workers: the program may put mocks in the places of functions that it uses."""
    from serverless_mp.local import popen  # noqa: F401, PLC0415 - native processes do not need it
    from serverless_mp.program import modules  # noqa: PLC0415 - the same

    # An old or missing cloudpickle is reported when a process forks.
    with contextlib.suppress(Exception):
        from serverless_mp.fork import capture  # noqa: F401, PLC0415 - the same
    modules.installed_places()


def run_script(path: str, arguments: list[str]) -> None:
    """Runs a program as `python path arguments...` does."""
    if not os.path.exists(path):
        sys.stderr.write(f"serverless-mp: can't open file {os.path.abspath(path)!r}: [Errno 2] No such file or directory\n")
        sys.exit(2)
    sys.argv[:] = [path, *arguments]
    if os.path.isdir(path) or (not path.endswith((".py", ".pyw")) and _is_archive(path)):
        shadows.avoid([path])
        _guard(lambda: runpy.run_path(path, run_name="__main__"))
        return
    _begin_path(os.path.dirname(os.path.realpath(path)))
    module = _new_main(None)
    file = os.path.abspath(path)
    module.__file__ = file
    module.__cached__ = None
    module.__loader__ = SourceFileLoader("__main__", file)
    # Compiled inside, so that a syntax error is shown like any other error.
    _guard(lambda: exec(compile(Path(file).read_bytes(), file, "exec", dont_inherit=True), module.__dict__))  # noqa: S102 - what the command is for


def run_code(code: str, arguments: list[str]) -> None:
    """Runs a program as `python -c code arguments...` does."""
    sys.argv[:] = ["-c", *arguments]
    _run_text(code, "<string>")


def run_standard_input(arguments: list[str]) -> None:
    """Runs a program as `python - arguments...` does."""
    sys.argv[:] = ["-", *arguments]
    _run_text(sys.stdin.read(), "<stdin>")


def _run_text(text: str, name: str) -> None:
    _begin_path("")
    module = _new_main(None)
    module.__loader__ = BuiltinImporter
    _guard(lambda: exec(compile(text, name, "exec", dont_inherit=True), module.__dict__))  # noqa: S102 - what the command is for


def run_module(name: str, arguments: list[str]) -> None:
    """Runs a program as `python -m name arguments...` does."""
    _begin_path(os.getcwd())
    sys.argv[:] = ["-m", *arguments]
    try:
        _, spec, code = runpy._get_module_details(name, runpy._Error)  # type: ignore[attr-defined]
    except runpy._Error as e:  # type: ignore[attr-defined]
        sys.exit(f"{sys.executable}: {e}")
    module = _new_main(spec)
    module.__file__, module.__cached__ = spec.origin, spec.cached
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    sys.argv[0] = spec.origin or name
    _guard(lambda: exec(code, module.__dict__))  # noqa: S102 - what the command is for


def _begin_path(directory: str) -> None:
    """Puts the program's directory at the beginning of the search path."""
    shadows.avoid([directory])
    sys.path[0] = directory


def _new_main(spec: ModuleSpec | None) -> Any:
    """A new `__main__`, which stays to the end, since objects that the program leaves behind refer to it."""
    module = types.ModuleType("__main__")
    module.__spec__ = spec
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    if "__annotations__" in vars(sys.modules["__main__"]):  # as the interpreter of this version begins
        module.__annotations__ = {}
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    return module


def _is_archive(path: str) -> bool:
    import zipfile  # noqa: PLC0415 - rarely needed

    return zipfile.is_zipfile(path)


def _guard(program: Any) -> None:
    """Runs the program. Errors are shown without our own frames."""
    try:
        program()
        # The interpreter flushes before the exit handlers run.
        util._flush_std_streams()  # type: ignore[attr-defined]
    except SystemExit:
        raise
    except BaseException as e:  # noqa: BLE001 - as the interpreter does
        trace = e.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(e), e.with_traceback(trace), trace)
        if isinstance(e, KeyboardInterrupt):
            # Ends by the signal, after the exit handlers, so that the shell sees it.
            atexit._run_exitfuncs()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        sys.exit(1)

"""Programs from the field, each of which once gave another result here, print what they print on CPython.

They run with `serverless-mp run`, and with `import serverless_mp as mp` in place of their own import.
"""

import os
import shutil
import subprocess
import sys
import zipapp

import pytest

from places import PROGRAMS

FIELD = PROGRAMS / "field"
WHOLE_LINE = "import multiprocessing as mp\n"
CASES = [
    "blocked_signal.py",
    "end_of_process.py fork",
    "end_of_process.py forkserver",
    "end_of_process.py spawn",
    "fork_attributes.py",
    "fork_bound_locks.py",
    "fork_c_layouts.py",
    "fork_c_library.py",
    "fork_caches.py",
    "fork_chain.py",
    "fork_ctypes/main.py",
    "fork_cycles_by_hash.py",
    "fork_decorators/main.py",
    "fork_deep/main.py",
    "fork_dynamic_import.py",
    "fork_ends.py",
    "fork_fields_in_c.py",
    "fork_functions/main.py",
    "fork_getstate.py",
    "fork_in_spawn.py",
    "fork_interpreter.py",
    "fork_iterators_and_arrays.py",
    "fork_keeps_hashes.py",
    "fork_lazy_and_listening.py",
    "fork_library/main.py",
    "fork_local_class/main.py",
    "fork_lost_content.py",
    "fork_made_in_c.py",
    "fork_metaclass_property.py",
    "fork_metaclasses.py",
    "fork_none.py",
    "fork_odd_modules.py",
    "fork_own_rules.py",
    "fork_patched_builtins.py",
    "fork_patched_library.py",
    "fork_patched_method/main.py",
    "fork_places/main.py",
    "fork_plugins/main.py",
    "fork_proxies/main.py",
    "fork_registrations.py",
    "fork_run_path.py",
    "fork_same_names.py",
    "fork_closed.py",
    "fork_sentinels.py",
    "fork_settings.py",
    "fork_shared_views.py",
    "fork_slots_kinds.py",
    "fork_slots_pool.py fork",
    "fork_slots_pool.py spawn",
    "fork_streams.py",
    "fork_undone/main.py",
    "fork_unrelated_global.py",
    "fork_views.py",
    "fork_with_threads.py",
    "fork_weak_proxies.py",
    "fork_wrapt.py",
    "forkserver_environment.py",
    "limits_after_first_process.py",
    "limits_before.py",
    "lock_release_target.py",
    "many_processes.py",
    "many_threads.py",
    "own_os_fork.py",
    "own_os_fork_pool.py pool executor",
    "own_os_fork_pool.py joined process",
    "own_os_fork_pool.py queue pool",
    "pool_task_with_dead_proxy.py",
    "process_object_to_process.py",
    "psutil_kills_children.py",
    "replaced_subprocess.py",
    "spawn_atexit.py",
    "spawn_by_import.py",
    "start_method_of_classes.py",
    "stdin_descriptor.py",
    "untouched/main.py fork",
    "untouched/main.py spawn",
    "waits_that_are_no_number.py",
    "with_joblib/context_backend.py fork",
    "with_joblib/context_backend.py spawn",
    "with_joblib/dropped_generator.py",
    "with_joblib/initializer.py",
    "with_joblib/two_threads.py",
]


def execute(command, folder):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=90, check=False, input="first line\n",
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def compare(plain, ours, folder):
    folders = [folder / name for name in ("plain", "ours")]
    for one in folders:
        one.mkdir()
    (*expected, _), (*got, err) = execute(plain, folders[0]), execute(ours, folders[1])
    assert got == expected, err


RUN = [sys.executable, "-m", "serverless_mp", "run"]


@pytest.mark.parametrize("case", CASES)
def test_by_the_command(case, tmp_path):
    program, *arguments = case.split()
    compare([sys.executable, FIELD / program, *arguments], [*RUN, FIELD / program, *arguments], tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if WHOLE_LINE in (FIELD / case.split()[0]).read_text()])
def test_by_the_import(case, tmp_path):
    program, *arguments = case.split()
    changed = shutil.copytree((FIELD / program).parent, tmp_path / "changed") / os.path.basename(program)
    changed.write_text(changed.read_text().replace(WHOLE_LINE, "import serverless_mp as mp\n", 1))
    compare([sys.executable, FIELD / program, *arguments], [sys.executable, changed, *arguments], tmp_path)


def test_an_archive_by_a_relative_path(tmp_path):
    for name in ("plain", "ours"):
        (tmp_path / name).mkdir()
        zipapp.create_archive(FIELD / "fork_zipapp", tmp_path / name / "app.pyz")
    plain = execute([sys.executable, "app.pyz"], tmp_path / "plain")
    ours = execute([*RUN, "app.pyz"], tmp_path / "ours")
    assert ours == plain


def test_modules_of_tests(run):
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", FIELD / "fork_pytest", cwd=FIELD)
    assert "7 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_objects_of_a_preloaded_library_are_not_touched(method, tmp_path):
    site = tmp_path / "site-packages"
    (site / "hooks").mkdir(parents=True)
    shutil.copy(FIELD / "untouched" / "hooks.py", site / "hooks" / "__init__.py")
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys, hooks\n"
        "def work(n):\n    print(n, hooks.with_default(), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context(sys.argv[1])\n"
        "    for n in range(4):\n"
        "        process = context.Process(target=work, args=(n,))\n        process.start()\n        process.join()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site), "SERVERLESS_MP_PRELOAD": "hooks"}
    for command in ([sys.executable], RUN):
        done = subprocess.run([*command, program, method], capture_output=True, text=True, timeout=90, check=False, env=env)
        assert (done.stdout, done.stderr) == ("".join(f"{n} True\n" for n in range(4)), "")


def test_context_variables_of_an_installed_library(tmp_path):
    site = tmp_path / "site-packages"
    (site / "holder").mkdir(parents=True)
    (site / "holder" / "__init__.py").write_text(
        "from contextvars import ContextVar\ncurrent = ContextVar('current')\nother = ContextVar('other', default='default')\n"
    )
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, holder\n"
        "def work(_):\n    return holder.current.get('nothing'), holder.other.get()\n"
        "context = multiprocessing.get_context('fork')\n"
        "token = holder.current.set({'value': 1})\n"
        "with context.Pool(1) as pool:\n    print(pool.map(work, [0]))\n"
        "holder.current.reset(token)\n"
        "with context.Pool(1) as pool:\n    print(pool.map(work, [0]))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    for command in ([sys.executable], RUN):
        done = subprocess.run([*command, program], capture_output=True, text=True, timeout=90, check=False, env=env)
        assert (done.stdout, done.stderr) == ("[({'value': 1}, 'default')]\n[('nothing', 'default')]\n", "")


MAPPER = """
class Meta(type):
    def __init__(cls, name, bases, space):
        if "table" in space:
            cls.tables[space["table"]] = cls


def make_base(name):
    return Meta("Base", (object,), {"tables": {}, "name": name, "label": lambda self: f"{type(self).__name__} of {self.name}"})


class Known(metaclass=Meta):
    pass


def get_known():
    return Known
"""
MAPPED = """
import multiprocessing

import mapper

Model = mapper.make_base("one base")
Known = mapper.get_known()
KINDS = {Known: "known"}


class User(Model):
    table = "users"


def look(_):
    return Model.name, [*Model.tables], Model.tables["users"] is User, isinstance(User(), Model), User().label(), KINDS[Known]


with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.map(look, [0]))
"""


def test_a_base_class_that_a_library_has_made(tmp_path):
    """As `declarative_base()` of SQLAlchemy makes one: its metaclass keeps what cannot be set."""
    site, program = tmp_path / "site-packages", tmp_path / "program.py"
    site.mkdir()
    (site / "mapper.py").write_text(MAPPER)
    program.write_text(MAPPED)
    env = {**os.environ, "PYTHONPATH": str(site)}
    for command in ([sys.executable], RUN):
        done = subprocess.run([*command, program], capture_output=True, text=True, timeout=90, check=False, env=env)
        said = "[('one base', ['users'], True, True, 'User of one base', 'known')]\n"
        assert (done.stdout, done.stderr) == (said, "")


def test_an_installed_program(tmp_path):
    """The state of a program's modules travels both from its checkout and from its installation."""
    package = tmp_path / "project" / "settings_of"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "config.py").write_text("LEVEL = 0\nNAMES = []\n\n\ndef look(_):\n    return LEVEL, NAMES\n")
    (package / "__main__.py").write_text(
        "import multiprocessing as mp\nfrom settings_of import config\n"
        "config.LEVEL = 3\nconfig.NAMES.append('x')\n"
        "with mp.get_context('fork').Pool(1) as pool:\n    print(pool.map(config.look, [0]))\n"
    )
    (tmp_path / "project" / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'settings_of'\nversion = '1'\n[tool.setuptools]\npackages = ['settings_of']\n"
    )
    site = tmp_path / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", site, "."]
    subprocess.run(install, cwd=tmp_path / "project", check=True, capture_output=True)
    for folder, path in ((tmp_path / "project", ""), (tmp_path, str(site))):
        env = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run([*RUN, "-m", "settings_of"], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.stdout == "[(3, ['x'])]\n", done.stderr


def test_under_a_debugger():
    program = FIELD / "under_pdb.py"
    plain = subprocess.run([sys.executable, "-m", "pdb", program], input="c\nq\n", capture_output=True, text=True, check=True)
    ours = subprocess.run([*RUN, "-m", "pdb", program], input="c\nq\n", capture_output=True, text=True, check=True)
    assert ours.stdout == plain.stdout and "exit 0\n" in ours.stdout

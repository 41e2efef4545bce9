"""Runs the two programs with `python`, then with `serverless-mp run`, and compares their output.

Neither program imports our package. Exits with 1 if a result differs, or if the summary does not show that our workers ran.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def run(command: list[str]) -> list[str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.splitlines()


def show(title: str, lines: list[str]) -> list[str]:
    print(f"  {title}")
    for line in lines:
        print(f"    {line}")
    return [line for line in lines if line.startswith("result")]


def main() -> int:
    different = False
    command = str(Path(sys.executable).with_name("serverless-mp"))
    for name in ("grid_search.py", "parallel_apply.py"):
        program = str(HERE / name)
        print(name)
        plain = show("python", run([sys.executable, program]))
        with tempfile.TemporaryDirectory() as folder:
            summary = Path(folder) / "summary.json"
            ours = show("serverless-mp run", run([command, "run", "--summary", str(summary), program]))
            report = json.loads(summary.read_text())
        launched = [p for p in report["processes"] if p.get("launcher")]
        print(
            f"    {len(launched)} processes launched by {sorted({p['launcher'] for p in launched})}: "
            f"{sorted(p['pid'] for p in launched)}"
        )
        print(f"    {report['store_commands']} store commands, {report['store_bytes']} bytes")
        same = plain == ours and bool(plain) and bool(launched)
        print("  results equal" if same else "  RESULTS DIFFER")
        different |= not same
    return int(different)


if __name__ == "__main__":
    sys.exit(main())

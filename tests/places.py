"""Where tests find their programs, and which store they run on."""

from __future__ import annotations

import os
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
STORE = os.environ.get("SERVERLESS_MP_TEST_STORE", "private")

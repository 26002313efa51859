"""Lets the tests import the scripts beside them as the scripts import each other: `python FILE` puts a script's folder on `sys.path`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

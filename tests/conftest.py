"""What all tests share: subprocesses and Ray's workers import the tests' pieces as this process does."""

from __future__ import annotations

import os

from places import ROOT, SUPPORT

# Ray passes the script's folder and the current one to its workers, not the rest of `sys.path`.
_KNOWN = os.environ.get("PYTHONPATH", "").split(os.pathsep)
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), str(SUPPORT), *filter(None, _KNOWN)]))

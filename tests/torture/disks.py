"""A small disk in memory, made by the test, so that it can be filled without harm to anybody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MB = 12


def reason_without() -> str | None:
    """Return why no disk can be mounted here, None if one can."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        return "a small disk needs Linux and its mount"
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    return None


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of a few megabytes, ``folder/disk``; None where not even root may mount one, as in most containers."""
    place = folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "cloaca-torture", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)

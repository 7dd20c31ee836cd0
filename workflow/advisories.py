"""Name those of the versions in constraints.txt with known vulnerabilities, by PyPI's advisories.

`make lint` calls it. Where there are none to be had (no network, an index that has none) it says
that nothing was audited, and that is no failure; one package is asked about first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def audited(pins: list[str]) -> list[dict] | None:
    """Return what is known of each package; None where nothing could be learnt."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps"]
        command += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
        try:
            done = subprocess.run(
                [*command, "--timeout", "5"], text=True, capture_output=True, timeout=300
            )
            found = json.loads(done.stdout)["dependencies"]
        except (ValueError, subprocess.TimeoutExpired):
            return None
    return [package for package in found if "skip_reason" not in package] or None


def main(pins: list[str]) -> int:
    """Return 1 if a package has a known vulnerability."""
    found = audited(pins) if audited(pins[:1]) else None
    if found is None:
        print("dependencies not audited: no advisories could be read from here")
        return 0
    for package in found:
        for one in package["vulns"]:
            cure = " or ".join(one["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {one['id']}, mended in {cure}")
    print(f"{len(found)} of {len(pins)} dependencies audited")
    return int(any(package["vulns"] for package in found))


if __name__ == "__main__":
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    sys.exit(main([line for line in lines if not line.startswith("#")]))

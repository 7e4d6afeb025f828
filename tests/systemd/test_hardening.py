"""The unit's exposure as systemd sees it. Needs no running systemd, only its analyser."""

import shutil
import subprocess
from pathlib import Path

import pytest

CONF = Path(__file__).parents[2] / "conf" / "systemd"
MOST_EXPOSED_TENTHS = 15

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


def test_the_unit_is_hardened() -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED_TENTHS}", "--no-pager"]
    done = subprocess.run([*command, str(CONF / "audiohookd.service")], capture_output=True, text=True, check=False)
    assert "Overall exposure level" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout
    # In a user namespace of its own SO_PEERCRED would tell of nobody, and roles go by uid.
    assert "\nPrivateUsers=yes" not in (CONF / "audiohookd.service").read_text()


@pytest.mark.parametrize("name", ["audiohookd.service", "audiohookd.socket"])
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    for unit in ("audiohookd.service", "audiohookd.socket"):
        # A command that is not installed would be the only complaint.
        text = (CONF / unit).read_text().replace("/usr/bin/audiohook", "/bin/true #")
        (tmp_path / unit).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0

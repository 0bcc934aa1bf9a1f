"""`wavewise app`: a free port, an address that works once, and the first screen."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

MAIN = "from wavewise.cli import main; main()"


def test_the_program_prints_an_address_that_opens_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAIN, "app", str(tmp_path), "--no-browser"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+/enter\?token=\S+", line)[0]
            with urllib.request.urlopen(url) as answer:  # follows the redirect without a cookie
                assert answer.url.endswith("/sign-in")
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url)
            assert refused.value.code == 401
            refused.value.close()
        finally:
            program.terminate()
            program.wait(60)
    assert list(tmp_path.iterdir()) == []

"""Node, which runs the page's scripts without a browser: the one that playwright brings, or the machine's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[2] / "analysis" / "page"


def program() -> str | None:
    try:
        import playwright
    except ImportError:
        return shutil.which("node")
    return str(Path(playwright.__file__).parent / "driver" / "node")


def call(node: str, script: Path, body: str, given: object) -> Any:
    """What a function of a script's names gives. body: an expression in `given` and `all`, what the script exports."""
    text = f"""
        import * as all from {json.dumps(script.as_uri())};
        import {{readFileSync}} from 'node:fs';
        const given = JSON.parse(readFileSync(0, 'utf8'));
        console.log(JSON.stringify({body}));
    """
    command = [node, "--no-warnings", "--input-type=module", "--eval", text]
    ran = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)

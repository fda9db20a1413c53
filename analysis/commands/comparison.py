"""`fit` of a sweep that compares joint training with merging: its table and figures; it has no laws."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sweeps.support.toml_io import read_toml


def compares(folder: Path) -> bool:
    """Whether a results folder is of a sweep that compares ways to train on several sources."""
    return (folder / "sweep.toml").is_file() and "compare" in read_toml(folder / "sweep.toml")


def show_comparison(args: argparse.Namespace) -> int:
    """Print the table, draw the figures. Raises ValueError for what only laws have."""
    from analysis.comparison import document, draw_all, text
    from analysis.tables.comparison import read_comparison

    given = {"page": args.page, "out": args.out, "with": args.reference, "score": args.score, "backtest": args.backtest}
    given["methods"] = args.methods
    for name in (name for name, value in given.items() if value):
        raise ValueError(f"--{name}: {args.path} compares ways to train on several sources, which gives no laws")
    comparison = read_comparison(args.path)
    drawn = draw_all(comparison, args.figures) if args.figures else None
    if args.json:
        print(json.dumps(document(comparison), indent=1))
    else:
        files = [*(f"wrote {path}" for path in drawn.files), *drawn.left_out] if drawn else []
        print("\n".join([text(comparison), "", *files]).rstrip())
    return 0

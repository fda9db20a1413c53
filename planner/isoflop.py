"""The record of isoFLOP minima in a law book: MethodLaw.isoflop, which `fit` writes (analysis/fitting/isoflop.py)."""

from __future__ import annotations

from typing import Any

from sweeps.support.checks import all_numbers, is_number, require, whole, within

# Lowest and highest value of what the line holds: no fit leaves these, and `plan` can reckon with all within.
LINE = {"budget": (1.0, 1e40), "largest": (1.0, 1e40), "exponent": (-10.0, 10.0), "log_params": (-50.0, 100.0)}


def check_isoflop(content: Any, where: str) -> None:
    """Raises ValueError naming the place where the record of a law file is not what `size_rule` reads."""
    require(where, content, isinstance(content, dict), "an object")
    if (line := content.get("line")) is not None:
        require(f"{where}.line", line, isinstance(line, dict), "an object")
        for name, limits in LINE.items():
            _finite(f"{where}.line.{name}", line[name])
            within(f"{where}.line.{name}", line[name], limits)
        draws = line["draws"]
        require(f"{where}.line.draws", draws, isinstance(draws, dict), "an object")
        for name in ("exponent", "log_params"):
            require(f"{where}.line.draws.{name}", draws[name], isinstance(draws[name], list), "a list")
            all_numbers(f"{where}.line.draws.{name}", draws[name])
            within(f"{where}.line.draws.{name}", draws[name], LINE[name])
        same = len(draws["exponent"]) == len(draws["log_params"]) > 0
        require(f"{where}.line.draws", draws, same, "columns of one length")
    if (told := content.get("verdict")) is not None:
        require(f"{where}.verdict", told, isinstance(told, dict), "an object")
        whole(f"{where}.verdict.decisions", told["decisions"], 0)
        for name in ("gap", "error"):
            _finite(f"{where}.verdict.{name}", told[name])
        for shares in ("given_away", "worst"):
            require(f"{where}.verdict.{shares}", told[shares], isinstance(told[shares], dict), "an object")
            for name in ("law", "isoflop"):
                _finite(f"{where}.verdict.{shares}.{name}", told[shares][name])


def _finite(where: str, value: Any) -> None:
    require(where, value, is_number(value), "a finite number")

"""From drawings to files, and why a figure may have none."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from analysis.figures.style import STYLE
from sweeps.support.atomic import replacing
from sweeps.support.progress import Progress

DPI = 300  # of the PNG
ENDINGS = ("png", "svg")


@dataclass(frozen=True)
class NotDrawn:
    """In place of a figure that would be a sentence: its data were not recorded, or are too few."""

    reason: str
    """What is missing, and in brackets what records it; no full stop."""


@dataclass(frozen=True)
class Drawn:
    """Which figures were drawn and which were not, with reasons."""

    files: list[Path]
    """A PNG (300 dpi) and an SVG for each figure that was drawn."""
    left_out: list[str]
    """A line for each other figure: its name and the reason."""


def write(figures: Mapping[str, Callable[[], Figure | NotDrawn]], folder: Path) -> Drawn:
    """Draw each figure and write it under its name in `folder`, where none stays of one that is not drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = Drawn([], [])
    with Progress("figures", len(figures)) as progress, plt.rc_context(STYLE):  # type: ignore[arg-type]  # it names every key there is
        for name, draw in figures.items():
            figure = draw()
            if isinstance(figure, NotDrawn):
                drawn.left_out.append(f"not drawn: {name}: {figure.reason}")
                for ending in ENDINGS:
                    _file(folder / name, ending).unlink(missing_ok=True)
            else:
                drawn.files.extend(_save(figure, folder / name))
            progress.advance(note=name)
    return drawn


def _save(figure: Figure, path: Path) -> list[Path]:
    """The figure as PNG and SVG of this name without an ending; it is closed then."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it is done; drawing each file would do it again
    files = [_file(path, ending) for ending in ENDINGS]
    for file, write_to in zip(files, (_write_png, _write_svg), strict=True):
        with replacing(file, durable=False) as temporary:
            write_to(figure, temporary)
    plt.close(figure)
    return files


def _file(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def _write_png(figure: Figure, path: Path) -> None:
    """The picture with its 256 most used colours, which takes a third of the bytes; nobody sees the difference."""
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", dpi=DPI, pil_kwargs={"compress_level": 0})
    with Image.open(pixels) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, format="png", dpi=(DPI, DPI))


def _write_svg(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", dpi=DPI, metadata={"Date": None})

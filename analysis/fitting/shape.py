"""A law family as the solver sees it: a sum of positive terms, linear in their factors, curved in a few exponents.

ln L = ln sum_k c_k exp(phi_k), with phi_k a function of the curved parameters and of ln N and ln D, both centred:
without centring the condition number of the problem is about 1e11.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from analysis.tables.rows import Array, Rows

# A term: phi, and its derivative by each curved parameter that it holds (by position). Shapes broadcast to [..., rows].
Term = tuple[Array | float, dict[int, Array]]

START_EXPONENTS = np.geomspace(0.03, 2.0, 48)  # start grid; published ones lie between 0.05 and 1.5
COARSE_EXPONENTS = np.geomspace(0.03, 2.0, 14)  # where a third curved parameter makes the grid a cube
EXPONENT_RANGE = (0.005, 4.0)
NEVER = -1e4  # ln of "this term is absent here": exp gives 0, times 0 stays 0


class Shape(ABC):
    """One family as the solver sees it. `curved`: names of its curved parameters; `linear`: of its positive factors."""

    linear: tuple[str, ...]
    curved: tuple[str, ...]
    batch_form: str = ""  # name of what batch size is worth, in families that know it

    @abstractmethod
    def terms(self, v: list[Array], rows: Rows) -> list[Term]:
        """The terms at curved parameters v, each [..., 1]."""

    def grid_terms(self, v: list[Array], rows: Rows) -> list[Array | float]:
        """phi of each term alone: over the start grid the derivatives would take most of the time."""
        return [phi for phi, _ in self.terms(v, rows)]

    def known(self, v: list[Array], rows: Rows) -> list[Term]:
        """Terms without a factor to fit; none but where coefficients are held."""
        return []

    @abstractmethod
    def grid(self, rows: Rows) -> list[Array]:
        """Start values of each curved parameter."""

    def limits(self, rows: Rows) -> list[tuple[float, float]]:
        """Lowest and highest value of each curved parameter."""
        return [EXPONENT_RANGE for _ in self.curved]

    @abstractmethod
    def coefficients(self, c: list[Array], v: list[Array], centre: tuple[float, float], rows: Rows) -> dict[str, Array]:
        """The law's own coefficients from factors c and curved parameters v, arrays of any one shape."""

    def batch_terms(self, v: list[Array], rows: Rows) -> dict[str, Array]:
        """Coefficients of what batch size is worth, by curved parameters v; none in a family of N and D alone."""
        return {}

    @property
    def size(self) -> int:
        """How many coefficients are fitted."""
        return len(self.linear) + len(self.curved)

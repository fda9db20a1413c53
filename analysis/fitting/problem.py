"""What the solver solves: rows, the form of a law, and how many methods share its exponents."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.shape import Shape, Term
from analysis.tables.rows import Array, Rows

FLOOR = 2.0  # of the log of a factor above its lowest value; nearer ones count as 0


@dataclass(frozen=True)
class Problem:
    """Rows, a form, and the number of methods that share its exponents (each has its own factors).

    A parameter vector is [ln factors, term by term and method by method; curved parameters].
    """

    shape: Shape
    """The form of the law."""
    rows: Rows
    """What it is fitted to; `rows.group` numbers the methods."""
    groups: int = 1
    """How many methods share the exponents."""

    @property
    def factors(self) -> int:
        """How many factors there are, over all methods."""
        return len(self.shape.linear) * self.groups

    @property
    def size(self) -> int:
        """How many parameters are fitted."""
        return self.factors + len(self.shape.curved)

    @cached_property
    def blocks(self) -> list[tuple[NDArray[np.int64] | slice, NDArray[np.int64]]]:
        """For each method its rows, and which parameters they depend on."""
        kinds = np.arange(len(self.shape.linear)) * self.groups
        curved = np.arange(self.factors, self.size)
        parameters = [np.concatenate([kinds + g, curved]) for g in range(self.groups)]
        if self.groups == 1:
            return [(slice(None), parameters[0])]
        return [(np.flatnonzero(self.rows.group == g), own) for g, own in enumerate(parameters)]

    def predict(self, theta: Array) -> Array:
        """ln predicted loss [R, rows] at theta [R, size]."""
        return np.log(self._heights(theta)[1])

    def residuals(self, theta: Array) -> Array:
        """Measured less predicted ln loss [R, rows] at theta [R, size]."""
        return np.log(self.rows.loss) - self.predict(theta)

    def slopes(self, theta: Array) -> tuple[Array, Array]:
        """ln predicted loss [R, rows] at theta [R, size], and its derivatives [R, rows, own parameters].

        Own parameters: those that `blocks` names for the row's method.
        """
        heights, total, terms = self._heights(theta)
        kinds = len(self.shape.linear)
        jacobian = np.zeros((*total.shape, kinds + len(self.shape.curved)))
        for k, (height, (_, derivatives)) in enumerate(zip(heights, terms, strict=True)):
            share = height / total
            if k < kinds:
                jacobian[:, :, k] = share
            for j, slope in derivatives.items():
                jacobian[:, :, kinds + j] += share * slope
        return np.log(total), jacobian

    def _heights(self, theta: Array) -> tuple[list[Array], Array, list[Term]]:
        """Each term of the loss [R, rows] at theta [R, size], their sum, and the terms; those without a factor last."""
        kinds = len(self.shape.linear)
        logs = theta[:, : self.factors].reshape(len(theta), kinds, self.groups)
        curved = [theta[:, self.factors + j, None] for j in range(len(self.shape.curved))]
        terms = self.shape.terms(curved, self.rows)
        heights = [np.exp(np.clip(logs[:, k, self.rows.group] + phi, -700, 700)) for k, (phi, _) in enumerate(terms)]
        if known := self.shape.known(curved, self.rows):
            there = [np.exp(np.clip(phi, -700, 700)) for phi, _ in known]
            heights += [np.broadcast_to(height, heights[0].shape) for height in there]
        return heights, functools.reduce(np.add, heights), [*terms, *known]

    def limits(self) -> tuple[Array, Array]:
        """Lowest and highest value of each parameter. A factor never falls below e-16 of the smallest loss."""
        floor = np.log(self.rows.loss.min()) - 16
        curved = self.shape.limits(self.rows)
        low = [floor] * self.factors + [ends[0] for ends in curved]
        high = [60.0] * self.factors + [ends[1] for ends in curved]
        return np.array(low), np.array(high)

    def coefficients(self, theta: Array) -> list[dict[str, Array]]:
        """The law's coefficients, one dict a method of arrays [R]; a factor at its floor is 0."""
        by_kind, curved = self._read(theta)
        return [
            self.shape.coefficients(list(by_kind[:, :, g].T), curved, self.rows.centre, self.rows)
            for g in range(self.groups)
        ]

    def batch_terms(self, theta: Array) -> dict[str, Array]:
        """Coefficients of what batch size is worth, arrays [R], alike for all methods of the problem; none without."""
        return self.shape.batch_terms(self._read(theta)[1], self.rows)

    def _read(self, theta: Array) -> tuple[Array, list[Array]]:
        """Factors [R, terms, methods], those at their floor 0, and curved parameters, each [R]."""
        low, _ = self.limits()
        factors = np.where(theta[:, : self.factors] <= low[0] + FLOOR, 0.0, np.exp(theta[:, : self.factors]))
        curved = [theta[:, self.factors + j] for j in range(len(self.shape.curved))]
        return factors.reshape(len(theta), len(self.shape.linear), self.groups), curved

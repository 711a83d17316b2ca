"""What happens at which iteration of a frame's fit, and how fast it learns: data, made from settings and frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from taichi_vvc.config import EncoderConfig
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.kernels import quantize

# When cells are dropped, in fractions of the iterations.
_KEY_PRUNES = (0.15, 0.3, 0.5)
# A whole scene forms in a coarse pass, see ``fit/coarse.py``: its part of the iterations, ...
_COARSE_PART = 1 / 3
# ... when cells are dropped in it (before a quarter of it small things have not formed) and in what follows, ...
_FORMING_PRUNES, _FORMED_PRUNES = (0.25, 0.45, 0.75), (0.15, 0.4)
# ... the factor of the distance between its samples, and what is left of its learning rates in the end.
_LONGER, _STILL_LEARNING = 3.0, 0.5
# Weight of the compactness of rays in a whole scene, see ``kernels/compact.py``.
_COMPACTNESS = 0.1
# Variance of the background of a whole scene from where on it has formed: what is left of the haze goes then.
_OPAQUE_FROM, _OPAQUE = 0.25, 0.05
_INTER_PRUNES = (0.15, 0.35)
# When the MLPs are rounded for good, as a fraction of the iterations. The grids adapt in those that are left.
_FREEZE = 0.75
# Of so many iterations the first one goes without a rate: tables for random symbols would say nothing.
_WARM_UP = 20
# Iterations between two choices of tables, and between two measurements of the opacity (which begin at half of them).
_TABLES_EVERY, _OPACITY_EVERY = 40, 100
# Iterations between two reports.
_REPORT_EVERY = 10
# Learning rate of the logarithm of the quantisation steps.
_STEP_RATE = 0.005
# Learning rates of what is fitted on, as parts of the usual ones: of MLPs; and of grids and MLPs in a key frame that
# should look like the frame before it. At full rate that would become another solution, no better than what was there,
# and pictures would change where nothing moves.
_FITTED_ON = 0.25
_STEADY, _STEADY_MLP = 0.04, 0.05


def frame_seed(config: EncoderConfig, frame: int, more: int = 0) -> int:
    """Seed of a frame's random draws, 0 to 2^31 - 1. ``more`` makes draws for another purpose independent of these."""
    return (config.seed * 7919 + frame * 104729 + more) % (2**31)


@dataclass(frozen=True)
class Turn:
    """What happens in one iteration of a fit, in this order.

    Attributes:
        iteration: its number, from 0.
        prune: whether empty and hidden cells are dropped.
        margin: whether the neighbours of the cells that are kept are kept too.
        measure_opacity: whether the field's opacity bounds are measured, which is part of pruning.
        freeze_mlp: whether MLPs that are fitted are rounded for good.
        mode: what stands for the quantiser, of :mod:`taichi_vvc.kernels.quantize`: ``NOISE``, ``ROUND``, ``IDENTITY``.
        rate: whether bits count. Tables are chosen where there are none.
        new_tables: whether tables are chosen anew where there are some.
        learning_rate: of all that is fitted, as a part of the highest.
        longer: factor of the distance between samples.
        spread: variance of the background, summed over the channels, of a scene that should be opaque.
        report: whether the fit tells how far it is.
    """

    iteration: int
    prune: bool
    margin: bool
    measure_opacity: bool
    freeze_mlp: bool
    mode: int
    rate: bool
    new_tables: bool
    learning_rate: float
    longer: float
    spread: float
    report: bool


@dataclass(frozen=True)
class Schedule:
    """How a frame is fitted. Iterating over it gives a :class:`Turn` for each iteration.

    Attributes:
        iterations: their number.
        prunes: iterations at which cells are dropped, in order; the last time without a margin.
        freeze_mlp: the iteration at which MLPs that are fitted are rounded for good.
        noise: iterations with noise in place of rounding, before the first with rounding.
        joint: whether the fit goes through quantiser and rate; see :attr:`EncoderConfig.joint`.
        rate_from: the first iteration in which bits count.
        rising: part of the iterations during which the learning rates rise evenly from almost nothing.
        final_rate: what is left of the learning rates in the end, as a part of the highest; they fall evenly.
        grid_rate: highest learning rate of the grids, in values.
        mlp_rate: highest learning rate of the MLPs.
        step_rate: highest learning rate of the logarithm of the quantisation steps; 0 where they are given.
        lambda_rate: weight of the rate: squared colour error per ray against bits per training ray of one view.
        lambda_residual: weight of the L1 norm of the basis residual, same scale.
        formed: iterations of the coarse pass that comes before.
        longer: factor of the distance between samples.
        compactness: weight of the regulariser of rays in ``kernels/compact.py``, same scale.
        opaque: iteration from which a whole scene should let nothing through.
    """

    iterations: int
    prunes: tuple[int, ...]
    freeze_mlp: int
    noise: int
    joint: bool
    rate_from: int
    rising: float
    final_rate: float
    grid_rate: float
    mlp_rate: float
    step_rate: float
    lambda_rate: float
    lambda_residual: float
    formed: int = 0
    longer: float = 1.0
    compactness: float = 0.0
    opaque: int = 0

    @staticmethod
    def of(config: EncoderConfig, prediction: Prediction, whole: bool = False) -> Schedule:
        """The schedule that the settings give for a key frame from scratch, one that goes on, or an inter frame.

        ``whole``: of a whole scene, see :attr:`taichi_vvc.types.FieldLayout.shell`.
        """
        key, scratch = prediction.key, prediction.reference is None
        total = config.iterations(key, scratch)
        formed = int(total * _COARSE_PART) if whole and scratch else 0
        total -= formed
        of_key = _FORMED_PRUNES if formed else _KEY_PRUNES
        return Schedule(
            iterations=total,
            prunes=tuple(sorted({int(total * part) for part in (of_key if key else _INTER_PRUNES)})),
            freeze_mlp=int(total * _FREEZE),
            # What starts with a decoded field is near the integers already.
            noise=int(total * config.rounding_from) if scratch else 0,
            joint=config.joint,
            rate_from=total // _WARM_UP,
            rising=config.rising,
            final_rate=config.final_rate,
            grid_rate=config.grid_rate * (config.inter_rate if not key else _STEADY if prediction.steady else 1.0),
            mlp_rate=config.mlp_rate * (1.0 if scratch else _STEADY_MLP if prediction.steady else _FITTED_ON),
            # Inter frames have the steps of their group. With other steps a key frame would change everywhere.
            step_rate=_STEP_RATE if key and not prediction.steady and config.joint else 0.0,
            lambda_rate=config.lambda_rate * (config.key_lambda if scratch else 1.0),
            lambda_residual=0.0 if key else config.lambda_residual,
            formed=formed,
            compactness=_COMPACTNESS if whole else 0.0,
        )

    @staticmethod
    def coarse(config: EncoderConfig) -> Schedule:
        """The schedule of the coarse pass of a key frame from scratch; nothing is rounded in it."""
        after = Schedule.of(config, Prediction.scratch(), whole=True)
        total = after.formed
        return replace(
            after,
            iterations=total,
            prunes=tuple(sorted({int(total * part) for part in _FORMING_PRUNES})),
            freeze_mlp=total,
            noise=total,
            rate_from=total // _WARM_UP,
            final_rate=_STILL_LEARNING,
            formed=0,
            longer=_LONGER,
            opaque=int(total * _OPAQUE_FROM),
        )

    def __iter__(self) -> Iterator[Turn]:
        return map(self.turn, range(self.iterations))

    def turn(self, iteration: int) -> Turn:
        """What happens at an iteration."""
        prune = iteration in self.prunes
        quantised = quantize.NOISE if iteration < self.noise else quantize.ROUND
        return Turn(
            iteration=iteration,
            prune=prune,
            margin=iteration < self.prunes[-1],
            measure_opacity=not prune and iteration % _OPACITY_EVERY == _OPACITY_EVERY // 2,
            freeze_mlp=iteration == self.freeze_mlp,
            mode=quantised if self.joint else quantize.IDENTITY,
            rate=iteration >= self.rate_from,
            new_tables=iteration % _TABLES_EVERY == 0,
            learning_rate=self.learning_rate(iteration),
            longer=self.longer,
            spread=_OPAQUE if self.compactness and iteration >= self.opaque else 0.0,
            report=iteration % _REPORT_EVERY == _REPORT_EVERY - 1 or iteration == self.iterations - 1,
        )

    def learning_rate(self, iteration: int) -> float:
        """The learning rates at an iteration, as a part of the highest."""
        # Adam's first steps are all of full size, whatever the gradient: at full rate they throw the density everywhere
        # far below zero, from where some fits never recover.
        risen = min(1.0, (iteration + 1) / max(1.0, self.rising * self.iterations))
        return risen * (1 - (1 - self.final_rate) * iteration / self.iterations)

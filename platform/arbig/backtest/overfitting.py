"""Overfitting: how much of a best result is the choosing.

Deflated Sharpe ratio: D. H. Bailey and M. Lopez de Prado, "The Deflated Sharpe Ratio: Correcting for Selection Bias,
Backtest Overfitting, and Non-Normality", Journal of Portfolio Management 40(5), 2014. Probability of backtest
overfitting: D. H. Bailey, J. M. Borwein, M. Lopez de Prado and Q. J. Zhu, "The Probability of Backtest Overfitting",
Journal of Computational Finance 20(4), 2016. Sharpe ratios here are per observation (a day), not annualised.
"""

from __future__ import annotations

from itertools import combinations
from math import e, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
EULER_MASCHERONI = 0.5772156649015329
CHUNK = 4_000_000


def sharpe_ratios(returns: Floats) -> Floats:
    """Mean over standard deviation of each column of `returns` (days x trials); 0 where nothing moved."""
    return _ratio(returns.mean(axis=0), returns.std(axis=0, ddof=1))


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio that the best of `trials` independent strategies without any skill is expected to show, when
    trials' Sharpe ratios have this variance (the 2014 paper's SR0; exactly 0 for one trial)."""
    if trials < 2:
        return 0.0
    from scipy.special import ndtri

    first, second = ndtri(1.0 - 1.0 / trials), ndtri(1.0 - 1.0 / (trials * e))
    return float(sqrt(variance) * ((1.0 - EULER_MASCHERONI) * first + EULER_MASCHERONI * second))


def probabilistic_sharpe(
    sharpe: float, benchmark: float, observations: int, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """The probability that the true Sharpe ratio is above `benchmark`. `kurtosis` of a normal distribution is 3.
    nan with fewer than two observations."""
    if observations < 2:
        return float("nan")
    from scipy.special import ndtr

    spread = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return float(ndtr((sharpe - benchmark) * sqrt(observations - 1.0) / sqrt(max(spread, 1e-12))))


def deflated_sharpe(
    sharpe: float, trials: int, variance: float, observations: int, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """The probability that the best strategy found has any skill, given how many were tried.

    `sharpe`: the best one's, per observation; `trials`: how many were tried; `variance`: of the trials' Sharpe ratios,
    per observation. Above 0.95 the finding is significant at the usual level.
    """
    return probabilistic_sharpe(sharpe, expected_maximum_sharpe(trials, variance), observations, skewness, kurtosis)


def moments(returns: Floats) -> tuple[float, float, float]:
    """Sharpe ratio, skewness and kurtosis (3 when normal) of one series; 0, 0, 3 when nothing moved."""
    deviations = returns - returns.mean() if len(returns) else returns
    second = float((deviations**2).mean()) if len(returns) > 1 else 0.0
    if second == 0.0:
        return 0.0, 0.0, 3.0
    skewness, kurtosis = (deviations**3).mean() / second**1.5, (deviations**4).mean() / second**2
    return float(returns.mean() / returns.std(ddof=1)), float(skewness), float(kurtosis)


def probability_of_overfitting(returns: Floats, blocks: int = 16) -> float:
    """The share of ways to halve the days in which the best trial of one half is no better than the median trial in
    the other (combinatorially symmetric cross-validation).

    `returns`: days x trials, all trials over the same days. `blocks`: even; the days are cut into that many equal
    stretches (the oldest few days that do not fit are left out), and every half of them is once the sample. About 0.5
    when nothing has skill; nan with fewer than two trials, two days a block, or when no trial ever moved.
    """
    days, trials = returns.shape
    if blocks % 2 or blocks < 2:
        raise ValueError(f"blocks: found {blocks}, expected an even number; write e.g. blocks=16")
    if trials < 2 or days < 2 * blocks or not returns.any():
        return float("nan")
    length = days // blocks
    cut = returns[days - length * blocks :].reshape(blocks, length, trials)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    halves = _halves(blocks)
    count = length * blocks // 2
    step = max(1, CHUNK // trials)
    lost = sum(_lost(halves[at : at + step], sums, squares, count) for at in range(0, len(halves), step))
    return lost / len(halves)


def _halves(blocks: int) -> Floats:
    """One row per way to choose half of the blocks: 1 where a block is chosen."""
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(chosen), blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    return halves


def _lost(halves: Floats, sums: Floats, squares: Floats, count: int) -> int:
    """In how many of these halves the winner is, in the other half, at or below the median (logit <= 0)."""
    inside = _sharpe(halves @ sums, halves @ squares, count)
    outside = _sharpe((1.0 - halves) @ sums, (1.0 - halves) @ squares, count)
    winner = np.take_along_axis(outside, inside.argmax(axis=1)[:, None], axis=1)
    below, equal = (outside < winner).sum(axis=1), (outside == winner).sum(axis=1)
    rank = below + (equal + 1) / 2.0
    return int((rank / (sums.shape[1] + 1.0) <= 0.5).sum())


def _sharpe(total: Floats, squares: Floats, count: int) -> Floats:
    mean = total / count
    return _ratio(mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0)))


def _ratio(mean: Floats, deviation: Floats) -> Floats:
    return np.divide(mean, deviation, out=np.zeros_like(mean), where=deviation > 1e-15)

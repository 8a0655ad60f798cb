"""Overfitting: the figures of the papers, and pure noise."""

from __future__ import annotations

from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest.overfitting import (
    deflated_sharpe,
    expected_maximum_sharpe,
    moments,
    probabilistic_sharpe,
    probability_of_overfitting,
    sharpe_ratios,
)

DAILY = 1 / sqrt(250)
VARIANCE = 0.5 / 250


def test_the_expected_best_of_a_hundred_is_the_papers():
    """Bailey and Lopez de Prado 2014, "A numerical example": SR0 = 0.1132 a day."""
    assert expected_maximum_sharpe(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "expected"), [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)]
)
def test_the_deflated_sharpe_ratio_is_the_papers(trials, skewness, kurtosis, expected):
    """Its example: an annual Sharpe ratio of 2.5 over five years of days."""
    found = deflated_sharpe(2.5 * DAILY, trials, VARIANCE, 1250, skewness, kurtosis)
    assert found == pytest.approx(expected, abs=5e-5)


def test_one_trial_is_not_deflated():
    assert deflated_sharpe(0.1, 1, 0.0, 500) == probabilistic_sharpe(0.1, 0.0, 500)


@given(st.integers(2, 10_000), st.integers(2, 10_000), st.floats(1e-6, 0.1))
def test_more_trials_ask_for_more(fewer, more, variance):
    fewer, more = sorted((fewer, more))
    assert expected_maximum_sharpe(fewer, variance) <= expected_maximum_sharpe(more, variance)


def test_the_best_of_pure_noise_is_rarely_called_skill():
    found = []
    for seed in range(60):
        noise = np.random.default_rng(seed).standard_normal((500, 50))
        ratios = sharpe_ratios(noise)
        sharpe, skewness, kurtosis = moments(noise[:, ratios.argmax()])
        found.append(deflated_sharpe(sharpe, 50, float(ratios.var(ddof=1)), 500, skewness, kurtosis))
    assert np.mean(np.array(found) > 0.95) <= 0.1
    assert 0.3 < np.mean(found) < 0.7


def test_choosing_among_pure_noise_is_a_toss():
    found = [
        probability_of_overfitting(np.random.default_rng(seed).standard_normal((320, 20)), 10) for seed in range(100)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def same_sharpe(days: int, trials: int, seed: int, annual: float = 0.0) -> np.ndarray:
    """The 2016 paper's test cases: every trial's Sharpe ratio over all days is exactly 0, the first one's is given."""
    noise = np.random.default_rng(seed).standard_normal((days, trials))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0, ddof=1)
    noise[:, 0] += annual * DAILY
    return noise


def test_what_one_half_wins_the_other_loses_when_all_are_equal():
    """The paper's first case: trials that differ in nothing give certainty."""
    assert probability_of_overfitting(same_sharpe(500, 50, 1)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("annual", "low", "high"), [(1.0, 0.25, 0.55), (2.0, 0.0, 0.08), (3.0, 0.0, 0.01)])
def test_the_better_one_trial_is_the_less_is_overfitted(annual, low, high):
    """The paper's cases of one skilled strategy among ten over a thousand days: about 0.40, then nearly nothing."""
    found = np.mean([probability_of_overfitting(same_sharpe(1000, 10, seed, annual)) for seed in range(12)])
    assert low <= found <= high


def test_the_share_is_counted_by_hand():
    """Two blocks: the winner of the first loses in the second, and the other way round; with a third trial that wins
    both the share is zero."""
    up, down = [3.0, 2.0, 3.0, 2.0], [-2.0, -3.0, -2.0, -3.0]
    contrary = np.array([up + down, down + up]).T
    assert probability_of_overfitting(contrary, 2) == 1.0
    better = np.column_stack([contrary, [9.0, 8.5] * 4])
    assert probability_of_overfitting(better, 2) == 0.0


@settings(max_examples=40)
@given(st.integers(2, 12), st.sampled_from([2, 4, 6, 8]), st.integers(0, 10**6))
def test_it_agrees_with_the_definition(trials, blocks, seed):
    """Against the definition written out, one halving at a time."""
    from itertools import combinations

    returns = np.random.default_rng(seed).standard_normal((blocks * 6 - 1, trials))
    pieces = np.array_split(returns[blocks - 1 :], blocks)
    lost = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([pieces[i] for i in chosen])
        outside = np.concatenate([pieces[i] for i in range(blocks) if i not in chosen])
        winner = (inside.mean(0) / inside.std(0)).argmax()
        ratios = outside.mean(0) / outside.std(0)
        rank = (ratios < ratios[winner]).sum() + 1
        lost.append(rank / (trials + 1) <= 0.5)
    assert probability_of_overfitting(returns, blocks) == pytest.approx(np.mean(lost))


def test_nothing_to_choose_between_has_no_answer():
    assert isnan(probability_of_overfitting(np.zeros((100, 5))))
    assert isnan(probability_of_overfitting(np.ones((100, 1))))
    assert isnan(probability_of_overfitting(np.ones((10, 5))))
    assert isnan(probabilistic_sharpe(0.1, 0.0, 1))
    assert moments(np.zeros(5)) == (0.0, 0.0, 3.0)


def test_an_odd_number_of_blocks_is_refused():
    with pytest.raises(ValueError, match=r"blocks: found 5, expected an even number; write e.g. blocks=16"):
        probability_of_overfitting(np.ones((100, 5)), 5)

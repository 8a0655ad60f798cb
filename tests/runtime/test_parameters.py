"""What a strategy's parameters may be: said on the class, checked wherever they are given."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from arbig import CtaTemplate, OneOf, Range
from arbig.domain.parameters import limits_of
from arbig.runtime.loader import Misconfigured, check_defaults, check_params


class Plain(CtaTemplate):
    window: Annotated[int, Range(2, 200)] = 10
    width: Annotated[float, Range(low=0.5)] = 2
    share: Annotated[float, Range(high=1)] = 0.2
    side: Annotated[str, OneOf("long", "short")] = "long"
    lots: Annotated[int, Range(1, 9)]
    free = 3
    parameters = ["window", "width", "share", "side", "lots", "free"]


class Wider(Plain):
    window: Annotated[int, Range(2, 500)] = 10
    width = 9.0


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"window": 1}, "params.window: found 1, expected 2 to 200; write e.g. window: 10"),
        ({"window": 201}, "expected 2 to 200"),
        ({"window": True}, "expected an integer"),
        ({"window": 2.0}, "expected an integer"),
        ({"width": 0.4}, "expected 0.5 or more; write e.g. width: 2"),
        ({"width": float("nan")}, "expected 0.5 or more"),
        ({"share": 1.5}, "expected at most 1; write e.g. share: 0.2"),
        ({"side": "both"}, "expected one of 'long', 'short'; write e.g. side: long"),
        ({"lots": 10}, "expected 1 to 9; write e.g. lots: 9"),
        ({"lots": "two"}, "expected an integer"),
        ({"windw": 3}, "unknown parameter of Plain. Did you mean: window?"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_mend(params: dict[str, Any], line: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        check_params(Plain, {"lots": 1} | params)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_both_ends_are_allowed_and_a_parameter_without_words_is_free() -> None:
    for params in ({"window": 2}, {"window": 200}, {"width": 3}, {"share": -7.5}, {"side": "short"}, {"free": 10**9}):
        check_params(Plain, {"lots": 1} | params)


def test_a_class_says_it_anew_for_its_own() -> None:
    check_params(Wider, {"lots": 1, "window": 500, "width": 0.5})
    assert limits_of(Wider)["window"] == Range(2, 500)


def test_a_default_that_the_class_does_not_allow_is_said() -> None:
    class Odd(CtaTemplate):
        window: Annotated[int, Range(2, 200)] = 1
        parameters = ["window"]

    assert check_defaults(Odd) == ["Odd.window: default 1 is not 2 to 200; write window = 2"]
    with pytest.raises(ValueError, match="exchange them"):
        Range(9, 2)

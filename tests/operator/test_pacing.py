"""How long news is gathered."""

from __future__ import annotations

import pytest

from sro_operator.pacing import first_words_seconds, gathering_seconds, words_seconds


@pytest.mark.parametrize(
    ("answer", "gathered", "first"),
    [(0.0, 0.1, 0.0), (0.01, 0.1, 0.0), (0.05, 0.5, 2.5), (0.2, 2.0, 5.0), (5.0, 2.0, 5.0)],
)
def test_the_slower_the_api_server_answers_the_longer_changes_are_gathered(
    answer: float, gathered: float, first: float
) -> None:
    assert gathering_seconds(answer) == gathered
    assert first_words_seconds(answer) == first


@pytest.mark.parametrize(("answer", "wait"), [(0.0, 5), (0.01, 5), (0.05, 15), (0.1, 30), (0.4, 30)])
def test_words_wait_for_at_least_five_seconds_and_at_most_thirty(answer: float, wait: float) -> None:
    assert words_seconds(answer) == wait

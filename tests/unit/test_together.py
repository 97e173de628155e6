"""Several things at once: answers in their order, and nothing that goes on when one fails."""

import asyncio

import pytest

from daemon.engine.together import together

pytestmark = pytest.mark.looptime


async def after(seconds: float, ended: list[float]) -> float:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        ended.append(seconds)
        raise
    return seconds


async def fail(seconds: float) -> float:
    await asyncio.sleep(seconds)
    raise LookupError("broken")


async def test_answers_come_in_the_order_of_the_questions_and_take_as_long_as_the_longest() -> None:
    began = asyncio.get_running_loop().time()

    answers = await together(after(seconds, []) for seconds in (3.0, 1.0, 2.0))

    assert answers == [3.0, 1.0, 2.0]
    assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)


async def test_nothing_is_nothing() -> None:
    assert await together([]) == []


async def test_the_others_have_ended_when_the_error_of_one_is_raised() -> None:
    ended: list[float] = []

    with pytest.raises(LookupError, match="broken"):
        await together([after(5.0, ended), fail(1.0), after(0.5, ended)])

    assert ended == [5.0]


async def test_the_end_of_who_waits_ends_all_of_it() -> None:
    ended: list[float] = []
    waiting = asyncio.ensure_future(together([after(5.0, ended), after(6.0, ended)]))
    await asyncio.sleep(1.0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert sorted(ended) == [5.0, 6.0]

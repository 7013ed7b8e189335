import signal
from collections.abc import Callable
from types import FrameType

import pytest

from harvester.service.signals import handled

Handler = Callable[[int, FrameType | None], None]


def ignore_one(_number: int, _frame: FrameType | None) -> None:
    return None


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_has_a_handler_at_every_moment(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    former = signal.signal(number, ignore_one)
    installed: list[object] = []
    install = signal.signal

    def record(which: int, handler: Handler) -> object:
        installed.append(handler)
        return install(which, handler)

    monkeypatch.setattr(signal, "signal", record)
    came: list[int] = []
    with handled([number], lambda which, _frame: came.append(which)):
        signal.raise_signal(number)
    assert signal.getsignal(number) is ignore_one
    # Neither the default action nor anything else comes between the two handlers.
    assert (came, len(installed), installed[-1]) == ([number], 2, ignore_one)
    install(number, former)

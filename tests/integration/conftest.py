import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.scripted_api import ScriptedApi
from tests.support.shell import Shell


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """A user's shell in an empty folder; what is still running at the end is killed."""
    shell = Shell(tmp_path)
    try:
        yield shell
    finally:
        await shell.close()


@pytest.fixture
async def api(shell: Shell) -> AsyncIterator[ScriptedApi]:
    """An API that says what the test tells it to, and that the shell talks to."""
    async with ScriptedApi() as api:
        shell.talks_to(api.base_url)
        yield api


@pytest.fixture
def quiet() -> Iterator[None]:
    """Write no log in this process: to format the story of each task takes as long as a harvest on virtual time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()

"""What several files of tests of the store need."""

from __future__ import annotations

import pytest

from tests.store import everything
from tests.store.statements import Ran, names, recording, written


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """Every statement that ran."""
    with recording() as found:
        everything.do_everything(tmp_path_factory.mktemp("everything"))
    texts = written()
    return [Ran(statement, names(statement, texts)) for statement in found.seen]

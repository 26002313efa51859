"""For tests of the core."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import ConfigError
from toolkit.models.optional import require


@pytest.fixture(scope="session")
def keras() -> Any:
    """Keras, which takes seconds to import."""
    try:
        return require("keras", extra="keras", purpose="this test")
    except ConfigError as error:
        pytest.skip(str(error))

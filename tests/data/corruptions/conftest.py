import numpy as np
import pytest

from minorkey.world import render


@pytest.fixture(scope="session")
def street() -> np.ndarray:
    """A scene with sky, houses, fine texture and people; read only."""
    image = render(1, 3, domain="clear", size=(160, 112)).image
    image.flags.writeable = False
    return image

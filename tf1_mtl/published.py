"""The published figures, and how many seeds it takes to test them. Imports no TensorFlow."""

from tf1_mtl.errors import InputError

#: What the notebook of the original article shows (un-seeded; J. Godwin, July 2016).
PUBLISHED_ALTERNATE = (
    *(4.49855e6, 4.88283e6, 4.73779e6, 4.78109e6, 5.83479e6),
    *(5.43606e6, 6.98611e6, 5.45781e6, 5.56779e6, 5.84073e6),
)
PUBLISHED_JOINT = 1.15856e7

#: Fewer seeds than this would make a false alarm likelier than one in ten for each figure.
FEWEST_SEEDS = 20


def require_enough(what: str, seeds: int) -> None:
    """Raises InputError if there are too few seeds for the test.

    Args:
      what: Where the number comes from, for the message.
      seeds: How many there are.
    """
    if seeds < FEWEST_SEEDS:
        raise InputError(
            f"{what}: {seeds}, but should be at least {FEWEST_SEEDS}: fewer cannot tell a wrong "
            "figure from chance."
        )

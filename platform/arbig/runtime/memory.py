"""What a long-lived process does with its memory once it stands."""

import gc

COLLECT = (10_000, 20, 20)


def settle_memory() -> None:
    """What the start has made stays: the collector need not walk through it again, in the middle of an order or of a
    page."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)

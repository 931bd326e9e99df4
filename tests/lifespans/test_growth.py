"""A process that opens lifespans for as long as it lives keeps nothing of those that have ended."""

from __future__ import annotations

from benchmarks.growth import Left, one_lifespan


def test_what_a_process_has_does_not_grow_with_the_number_of_its_lifespans() -> None:
    for _ in range(50):
        one_lifespan()
    before = Left.now()
    for _ in range(200):
        one_lifespan()
    after = Left.now()

    assert after.objects - before.objects < 100
    # What other tests in this process have left may end meanwhile.
    assert after.threads <= before.threads
    assert after.files <= before.files

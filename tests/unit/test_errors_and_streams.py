"""The error tree and the streams of random numbers."""

import numpy as np
import pytest

from wavewise import errors
from wavewise.shared.results import CheckResult, NotEstimable, hash_arrays, read_only
from wavewise.shared.streams import stream

CLASSES = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, errors.WavewiseError)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_its_own_exit_code_and_status(cls: type[errors.WavewiseError]) -> None:
    error = cls("found a, needed b; do c")
    codes = [errors.exit_code(other("x")) for other in CLASSES]
    assert codes.count(errors.exit_code(error)) == 1
    assert 400 <= errors.http_status(error) < 600


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    for cls in CLASSES:
        assert cls.__name__ in errors.__doc__


def test_a_class_below_takes_the_code_of_the_one_above() -> None:
    class Special(errors.StoreError):
        pass

    assert errors.exit_code(Special("x")) == errors.exit_code(errors.StoreError("x"))


def test_faults_are_listed_below_the_message() -> None:
    fault = errors.Fault("row 7", "nothing", "a value", "add it")
    assert str(errors.InputError("people.csv", [fault])) == (
        "people.csv\n  row 7: found nothing; needed a value; add it"
    )


def test_streams_are_independent_and_repeat() -> None:
    draws = {
        names: stream(1, *names).random(4000) for names in (("a",), ("b",), ("a", "b"), ("ab",))
    }
    again = stream(1, "a").random(4000)
    assert (draws["a",] == again).all()
    table = np.corrcoef(list(draws.values()))
    off = table[~np.eye(4, dtype=bool)]
    assert np.abs(off).max() < 4 / np.sqrt(4000)
    assert stream(1, "a").random() != stream(2, "a").random()


def test_streams_are_the_same_on_every_machine() -> None:
    # the bit generator and its seeding are specified by numpy; the key by SHA-256
    seed = np.random.SeedSequence(7, spawn_key=_key("wave-1", "assign"))
    other = np.random.Generator(np.random.PCG64DXSM(seed))
    assert stream(7, "wave-1", "assign").integers(2**60) == other.integers(2**60)


def _key(*names: str) -> tuple[int, ...]:
    import hashlib
    import struct

    return struct.unpack("<8I", hashlib.sha256("\x1f".join(names).encode()).digest())


def test_not_estimable_is_no_number() -> None:
    reason = NotEstimable("arm 'a' has no units")
    assert not reason
    with pytest.raises(TypeError):
        float(reason)


def test_checks_have_three_outcomes() -> None:
    verdicts = [CheckResult("n", "s", passed, "t").verdict for passed in (True, False, None)]
    assert verdicts == ["pass", "fail", "inconclusive"]


def test_hashes_see_names_values_and_order_but_not_string_width() -> None:
    base = hash_arrays(x=np.array([1, 2]), y=np.array(["a", "b"]))
    assert base == hash_arrays(y=np.array(["a", "b"], dtype="<U9"), x=np.array([1, 2]))
    assert base != hash_arrays(x=np.array([2, 1]), y=np.array(["a", "b"]))
    assert base != hash_arrays(z=np.array([1, 2]), y=np.array(["a", "b"]))


def test_read_only_arrays_cannot_be_written() -> None:
    array = read_only([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 3.0

"""What is fed: the draws of the article in its order, arrays of a user, and what is rejected."""

import zipfile

import numpy as np
import pytest

from tf1_mtl import InputError, feeds
from tf1_mtl.data import as_float32, load_data, make_data

X = np.ones((4, 3))
Y1 = np.ones((4, 2))
Y2 = np.ones((4, 5))


def test_alternate_draws_in_the_articles_order():
    rng, again = np.random.RandomState(11), np.random.RandomState(11)
    for batch in feeds.alternate(feeds.article_draw(rng), rng, 20):
        assert batch.task == ("Y1" if again.rand() < 0.5 else "Y2")
        np.testing.assert_array_equal(batch.X, again.rand(10, 10) * 10)
        np.testing.assert_array_equal(batch.Y1, again.rand(10, 20) * 10)
        np.testing.assert_array_equal(batch.Y2, again.rand(10, 20) * 10)
    assert rng.rand() == again.rand()


def test_joint_draws_in_the_articles_order():
    rng, again = np.random.RandomState(12), np.random.RandomState(12)
    (batch,) = feeds.joint(feeds.article_draw(rng, batch=2, inputs=3, tasks=(4, 5)))
    assert batch.task == "joint"
    np.testing.assert_array_equal(batch.X, again.rand(2, 3) * 10)
    np.testing.assert_array_equal(batch.Y1, again.rand(2, 4) * 10)
    np.testing.assert_array_equal(batch.Y2, again.rand(2, 5) * 10)


def test_one_set_of_rows_feeds_all_three():
    data = make_data({"X": X, "Y1": Y1, "Y2": Y2})
    assert data.one_set
    assert (data.inputs, data.tasks) == (3, (2, 5))
    batch = feeds.data_draw(data, np.random.RandomState(0))("Y1")
    assert batch.X is data.X1 or np.shares_memory(batch.X, data.X1)
    assert batch.Y1.dtype == batch.Y2.dtype == np.float32
    assert batch.Y2.shape == (4, 5)


def test_two_sets_feed_only_the_tasks_own():
    data = make_data({"X1": X, "Y1": Y1, "X2": np.zeros((6, 3)), "Y2": np.zeros((6, 5))})
    draw = feeds.data_draw(data, np.random.RandomState(0))
    first, second = draw("Y1"), draw("Y2")
    assert first.Y2 is None
    assert second.Y1 is None
    assert (len(first.X), len(second.X)) == (4, 6)
    with pytest.raises(InputError, match="joint training needs both labels of every row"):
        draw("joint")


def test_a_batch_of_rows_is_drawn_without_replacement_and_keeps_rows_together():
    rows = np.arange(4.0).reshape(4, 1)
    data = make_data({"X": rows, "Y1": rows * 10, "Y2": rows * 100})
    draw = feeds.data_draw(data, np.random.RandomState(0), batch=3)
    seen = set()
    for _ in range(50):
        batch = draw("joint")
        assert len(set(batch.X.ravel())) == 3
        np.testing.assert_array_equal(batch.Y1, batch.X * 10)
        np.testing.assert_array_equal(batch.Y2, batch.X * 100)
        seen |= set(batch.X.ravel())
    assert seen == {0.0, 1.0, 2.0, 3.0}


def with_value(value, dtype=float):
    array = np.ones((4, 2), dtype)
    array[1, 0] = value
    return array


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (with_value(np.nan), "Y1[1, 0] is nan, not a finite number"),
        (with_value(np.inf), "Y1[1, 0] is inf, not a finite number"),
        (with_value(-np.inf, np.float32), "Y1[1, 0] is -inf, not a finite number"),
        (with_value(1e300), "Y1[1, 0] is 1e+300, too large for float32"),
        (np.full((4, 2), np.nan), "nan, not a finite number (8 such values)"),
        (Y1.astype(object), "is an array of object, but should be numbers"),
        (Y1.astype(complex), "is an array of complex128, but should be numbers"),
        (Y1.astype(str), "is an array of <U32, but should be numbers"),
        (Y1.astype("S3"), "is an array of |S3, but should be numbers"),
        (Y1.astype("datetime64[s]"), "is an array of datetime64[s], but should be numbers"),
        (None, "is an array of object, but should be numbers"),
        (np.ones(4), "is float64 [4], but should be [any, 2]"),
        (np.ones((4, 3)), "is float64 [4, 3], but should be [any, 2]"),
        (np.ones((4, 2, 1)), "is float64 [4, 2, 1], but should be [any, 2]"),
        (np.float32(3), "is float32 [], but should be [any, 2]"),
        (np.ones((0, 2)), "is empty, [0, 2], but should have at least one row and column"),
        ([[1, 2], [3]], "but should be"),
        (np.ma.masked_equal(with_value(-999), -999), "has masked values, but should be numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")
def test_what_cannot_be_fed(value, message):
    with pytest.raises(InputError) as raised:
        as_float32("Y1", value, (None, 2))
    assert str(raised.value).startswith("Y1")
    assert message in str(raised.value)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64"])
def test_numbers_are_cast(dtype):
    cast = as_float32("Y1", np.ones((4, 2), dtype), (4, 2))
    assert cast.dtype == np.float32
    np.testing.assert_array_equal(cast, 1)


def test_large_numbers_that_float32_holds_pass():
    # Their squares overflow, so that they are looked at one by one.
    value = np.full((4, 2), 3e38)
    np.testing.assert_array_equal(as_float32("Y1", value), value.astype(np.float32))


def test_a_user_who_lets_numpy_raise_gets_no_other_answer():
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(as_float32("Y1", np.full((4, 2), 1e-300)), 0)
        with pytest.raises(InputError, match="too large for float32"):
            as_float32("Y1", np.full((4, 2), 1e300))


SHAPES = {"X": (None, 3), "Y1": (None, 2), "Y2": (None, 5)}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (feeds.Batch("Y3", X, Y1, Y2), "task is 'Y3', but should be one of ['Y1', 'Y2', 'joint']"),
        (feeds.Batch("Y1", X, None, Y2), "task 'Y1' needs Y1, which is None"),
        (feeds.Batch("Y2", X, Y1, None), "task 'Y2' needs Y2, which is None"),
        (feeds.Batch("joint", X, Y1, None), "task 'joint' needs Y2, which is None"),
        (feeds.Batch("joint", None, Y1, Y2), "task 'joint' needs X, which is None"),
        (feeds.Batch("joint", X, Y1[:3], Y2), "rows differ (X has 4, Y1 has 3, Y2 has 4)"),
        (feeds.Batch("joint", X, Y2, Y1), "Y1 is float64 [4, 5], but should be [any, 2]"),
        (feeds.Batch("joint", X * np.nan, Y1, Y2), "X[0, 0] is nan"),
    ],
)
def test_batches_that_do_not_fit(batch, message):
    with pytest.raises(InputError) as raised:
        feeds.checked(batch, SHAPES, "step 3")
    assert str(raised.value).startswith("step 3: ")
    assert message in str(raised.value)


def test_a_label_that_the_task_does_not_need_may_be_left_out():
    assert set(feeds.checked(feeds.Batch("Y1", X, Y1, None), SHAPES, "")) == {"X", "Y1"}
    assert set(feeds.checked(feeds.Batch("Y1", X, Y1, Y2), SHAPES, "")) == {"X", "Y1", "Y2"}


def save(path, **arrays):
    np.savez(str(path), **arrays)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "the arrays are none, but should be X, Y1, Y2"),
        ({"X": X, "Y1": Y1}, "the arrays are X, Y1, but should be X, Y1, Y2"),
        ({"X": X, "Y1": Y1, "Y2": Y2, "Z": X}, "the arrays are X, Y1, Y2, Z, but should be"),
        ({"X": X, "Y1": Y1[:3], "Y2": Y2}, "X has 4 rows, but Y1 has 3"),
        ({"X1": X, "Y1": Y1, "X2": X[:2], "Y2": Y2}, "X2 has 2 rows, but Y2 has 4"),
        ({"X1": X, "Y1": Y1, "X2": X[:, :1], "Y2": Y2}, "X1 has 3 columns, but X2 has 1"),
        ({"X": X, "Y1": Y1[:, 0], "Y2": Y2}, "Y1 is float64 [4], but should be two dimensions"),
        ({"X": X[:0], "Y1": Y1[:0], "Y2": Y2[:0]}, "X is empty, [0, 3]"),
        ({"X": X, "Y1": Y1 * 1j, "Y2": Y2}, "Y1 is an array of complex128"),
        ({"X": X, "Y1": Y1.astype(str), "Y2": Y2}, "Y1 is an array of <U32"),
        ({"X": X, "Y1": Y1.astype(object), "Y2": Y2}, "no pickled objects"),
        ({"X": X, "Y1": with_value(np.nan), "Y2": Y2}, "Y1[1, 0] is nan"),
        ({"X": X, "Y1": with_value(1e39), "Y2": Y2}, "Y1[1, 0] is 1e+39, too large for float32"),
    ],
)
def test_data_files_that_are_refused(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    save(path, **arrays)
    with pytest.raises(InputError) as raised:
        load_data(str(path))
    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)


def test_files_that_are_no_data(tmp_path):
    good = tmp_path / "good.npz"
    save(good, X=X, Y1=Y1, Y2=Y2)
    truncated = tmp_path / "truncated.npz"
    truncated.write_bytes(good.read_bytes()[:-60])
    flipped = tmp_path / "flipped.npz"
    content = bytearray(good.read_bytes())
    content[200] ^= 255
    flipped.write_bytes(bytes(content))
    empty = tmp_path / "empty.npz"
    empty.write_bytes(b"")
    text = tmp_path / "text.npz"
    text.write_text("X,Y1,Y2\n1,2,3\n")
    single = tmp_path / "single.npy"
    np.save(str(single), X)
    huge = tmp_path / "huge.npz"
    with zipfile.ZipFile(str(huge), "w") as archive, archive.open("X.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**4)}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(InputError, match="the arrays are X, but should be X, Y1, Y2"):
        load_data(str(huge))  # before its 80 TB are asked for
    files = (truncated, flipped, empty, text, single, tmp_path, tmp_path / "missing.npz")
    for path in files:
        with pytest.raises(InputError) as raised:
            load_data(str(path))
        assert str(raised.value).startswith(str(path)), raised.value
        assert "should be an .npz file with X, Y1, Y2" in str(raised.value)
    assert load_data(str(good)).tasks == (2, 5)


def test_any_damaged_byte_is_told_or_does_no_harm(tmp_path, capfd):
    good, damaged = tmp_path / "good.npz", tmp_path / "damaged.npz"
    save(good, X=X, Y1=Y1, Y2=Y2)
    content = good.read_bytes()
    refused = 0
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x41
        damaged.write_bytes(bytes(flipped))
        try:
            data = load_data(str(damaged))
        except InputError:
            refused += 1
        else:
            for read, written in zip((data.X1, data.Y1, data.Y2), (X, Y1, Y2)):
                np.testing.assert_array_equal(read, written)
    assert refused > len(content) / 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("batch", [0, 5, -1, 2.0, "2", True])
def test_batches_larger_than_the_data(batch):
    data = make_data({"X": X, "Y1": Y1, "Y2": Y2})
    message = "but should be a whole number from 1 to 4, the rows of the data"
    with pytest.raises(InputError, match=message):
        feeds.data_draw(data, np.random.RandomState(0), batch)


@pytest.mark.parametrize("steps", [0, -1, 2.0, "3", None, True])
def test_steps_that_are_no_number(steps):
    rng = np.random.RandomState(0)
    with pytest.raises(InputError, match="but should be a whole number of at least 1"):
        next(feeds.alternate(feeds.article_draw(rng), rng, steps))

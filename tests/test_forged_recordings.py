"""Recordings that are damaged or forged: each is read, or rejected with an InputError."""

import copy
import hashlib
import io
import json
import os
import zipfile

import numpy as np
import pytest
from sampling import slow
from test_recordings import assert_rejected, example, rewrite

from tf1_mtl.baseline import Reference, cases_of, check, load_golden, load_recording, save_recording
from tf1_mtl.baseline.archive import npy
from tf1_mtl.errors import InputError

SEAL = b"tf1_mtl trajectory, sha256 "


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def sealed(members, compression=zipfile.ZIP_STORED, change=lambda data: data):
    """The bytes of an archive with these members and a valid seal."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
        archive.comment = SEAL + b"0" * 64
    data = change(file.getvalue()[:-64])
    return data + hashlib.sha256(data).hexdigest().encode()


@pytest.fixture
def stored(tmp_path):
    path = str(tmp_path / "example.npz")
    save_recording(path, example())
    return path


def test_a_sealed_archive_is_read(stored):
    rewrite(stored, sealed(members_of(stored)))
    assert repr(load_recording(stored)) == repr(example())


DEEP = json.loads("[" * 800 + "]" * 800)
VALUES = [
    None, True, -1, 2**70, 0.5, "", "nowhere.npy", "000000/feeds/X.npy", [], {}, [[]], DEEP,
    ["float32", 1.5], ["float32", "x"], ["float32", None], ["int8", 10**30], ["object", 1],
    ["float32", [1, 2]], ["float32"], {"tensor": "nowhere.npy"}, {"tensor": ["int32", 7]},
    {"float": "x"}, {"float": 3}, {"strings": ["a", 5], "shape": [2]}, {"function": 7},
    {"strings": ["a"], "shape": [10**18]}, {"strings": "ab", "shape": [2]}, {"shape": []},
]  # fmt: skip
HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }\n",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
    "{'descr': '|S0', 'fortran_order': False, 'shape': (99999999999999,), }\n",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }\n",
    "{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }\n",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999,), }\n",
    "(" * 5000,
    "",
]


def mutated_json(rng, data):
    """A JSON member with one value replaced, removed or doubled."""
    entry = json.loads(data.decode())
    places = []

    def walk(value):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key])

    walk(entry)
    if not places:
        return b"[]"
    container, key = places[rng.randint(len(places))]
    kind = rng.randint(5)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    elif kind == 2 and isinstance(container, dict):
        container["other"] = container.pop(key)
    else:
        container[key] = VALUES[rng.randint(len(VALUES))]
    return json.dumps(entry).encode()


def mutated_npy(rng, data):
    """An array with another header, or more or fewer bytes."""
    kind = rng.randint(4)
    if kind == 0:
        header = HEADERS[rng.randint(len(HEADERS))].encode()
        return data[:8] + len(header).to_bytes(2, "little") + header + data[-4:]
    if kind == 1:
        return data[: rng.randint(1, len(data))]
    if kind == 2:
        return data + b"more"
    position = rng.randint(min(len(data), 128))
    return data[:position] + bytes([rng.randint(256)]) + data[position + 1 :]


def mutated(rng, members):
    """The members with one of them changed, gone, twice or elsewhere."""
    members = list(members)
    at = rng.randint(len(members))
    name, data = members[at]
    kind = rng.randint(10)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members.insert(rng.randint(len(members)), members.pop(at))
    elif kind == 2:
        members.insert(at, (name + rng.choice(["x", ".npy", ".json", "/1.json"]), data))
    elif kind == 3:
        members[at] = (name, members[rng.randint(len(members))][1])
    elif kind == 4:
        members[at] = (members[rng.randint(len(members))][0], data)
    else:
        change = mutated_npy if name.endswith(".npy") else mutated_json
        members[at] = (name, change(rng, data))
    return members


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("tries", [600, slow(3000)])
def test_every_forged_recording_is_read_or_rejected(stored, tries):
    rng = np.random.RandomState(7)
    members, again = members_of(stored), stored + ".again"
    outcomes = {"read": 0, "rejected": 0}
    for _ in range(tries):
        rewrite(stored, sealed(mutated(rng, members)))
        try:
            recording = load_recording(stored)
        except InputError as error:
            assert str(error).startswith(stored)
            assert "\n" not in str(error)
            outcomes["rejected"] += 1
            continue
        outcomes["read"] += 1
        assert "\n" not in repr(recording)
        assert "\n" not in repr(recording.steps() + recording.runs)
        if outcomes["read"] % 10 == 0:  # what is read can be written
            save_recording(again, recording)
            assert repr(load_recording(again)) == repr(recording)
    assert outcomes["read"] > tries / 10
    assert outcomes["rejected"] > tries / 3


def test_damaged_bytes_behind_a_valid_seal_are_rejected(stored):
    members = members_of(stored)
    last = b"PK\x01\x02"  # begins the table of contents
    for data in (
        sealed(members, zipfile.ZIP_DEFLATED),
        sealed(members, change=lambda data: data.replace(b'"task"', b'"tusk"')),
        sealed(members, change=lambda data: data.replace(last, b"junk" + last, 1)),
    ):
        rewrite(stored, data)
        assert_rejected(stored, "sealed, but not as tf1_mtl writes it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_rejected(stored):
    members = members_of(stored)
    rewrite(stored, sealed([*members, members[3]]))
    assert_rejected(stored, "there twice")


def test_what_is_no_regular_file_is_rejected_at_once(tmp_path):
    pipe = str(tmp_path / "pipe.npz")
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero", str(tmp_path), "a\0b"):
        for partial in (False, True):
            assert_rejected(path, "cannot be read", partial=partial)


def test_a_large_foreign_file_is_not_read(tmp_path):
    path = str(tmp_path / "large.npz")
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a terabyte of zeros that takes no space
    assert_rejected(path, "not a recording")


def test_an_array_larger_than_its_member_is_rejected_before_memory_is_taken(stored):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000,), }\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 4
    members = {**dict(members_of(stored)), "000000/feeds/X.npy": data}
    rewrite(stored, sealed(members.items()))
    assert_rejected(stored, r"unknown content .*4 bytes, but \[250000000000\]")


def test_a_recording_of_the_first_schema_is_read(tmp_path):
    path = str(tmp_path / "old.npz")
    X = np.ones((2, 3), np.float32)
    run = {
        "task": "Y1",
        "feeds": {"X": "000000/feeds/X.npy"},
        "loss": ["float32", 2.5],
        "weights": {"share_W": "initial/share_W.npy"},
        "slots": [["Y1_op", "", "beta1_power", ["float32", 0.5]]],
    }
    fetched = {"fetched": {"Adam_1": None, "loss:0": ["float32", 2.5]}, "session": 0}
    members = {
        "manifest.json": b'{"format": "tf1_mtl trajectory", "schema": 1, "seed": 3}',
        "initial/share_W.npy": npy(2 * X),
        "initial.json": b'{"share_W": "initial/share_W.npy"}',
        "000000/feeds/X.npy": npy(X),
        "runs/000000.json": json.dumps(run).encode(),
        "runs/000001.json": json.dumps({**run, **fetched}).encode(),
    }
    rewrite(path, sealed(members.items()))
    old = load_recording(path)
    assert old.manifest["seed"] == 3
    assert old.sessions[0].graph is None
    assert np.array_equal(old.sessions[0].initial["share_W"], 2 * X)
    assert [run.loss for run in old.steps()] == [2.5, 2.5]
    assert old.runs[1].fetches == ("Adam_1", "loss")
    assert list(old.runs[0].variables) == ["share_W", "Y1_op//beta1_power"]
    with pytest.raises(InputError, match=r"holds no graph.*Record it again"):
        cases_of(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("tries", [75, slow(300)])
def test_every_forged_golden_is_checked_or_rejected(tmp_path, tries):
    path = str(tmp_path / "golden.npz")
    golden = load_golden("two-data-sets")
    save_recording(path, golden._replace(runs=golden.runs[:3]))
    rng, members = np.random.RandomState(8), members_of(path)
    accepted = 0
    for _ in range(tries):
        rewrite(path, sealed(mutated(rng, members)))
        try:
            report = check(Reference, goldens=[path])
            assert not report.broke, report
            accepted += report.passed
        except InputError as error:
            assert "\n" not in str(error)
    assert tries / 30 < accepted < tries * 2 / 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_golden_that_is_not_finite_is_rejected(tmp_path, bad):
    path, golden = str(tmp_path / "golden.npz"), load_golden("two-data-sets")
    session, first = golden.sessions[0], golden.runs[0]
    weights = np.full_like(session.initial["share_W"], bad)
    changed = session._replace(initial={**session.initial, "share_W": weights})
    for recording in (
        golden._replace(sessions={0: changed}),
        golden._replace(runs=(first._replace(variables={**first.variables, "share_W": weights}),)),
        golden._replace(runs=(first._replace(feeds={**first.feeds, "X": first.feeds["X"] * bad}),)),
    ):
        save_recording(path, recording)
        with pytest.raises(InputError, match=r"(share_W|X) is float32 .*should be finite"):
            cases_of(path)
        os.remove(path)

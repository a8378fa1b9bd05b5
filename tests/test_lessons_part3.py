"""Lesson 10: what it says of its sentences, its graph and its accuracies is so."""

import collections

import lessons
import pytest

from tf1_mtl.baseline.case import cases_of
from tf1_mtl.baseline.recorder import recording
from tf1_mtl.baseline.verification import verify


def the_sentences_are_in_conlls_form(lesson):
    assert len(lesson.sentences_of_its_own) == 68
    chunks = [row[2] for sentence in lesson.sentences_of_its_own for row in sentence]
    assert all(len(row) == 3 for sentence in lesson.sentences_of_its_own for row in sentence)
    assert {chunk[:2] for chunk in chunks} == {"B-", "I-", "O"}
    for sentence in lesson.sentences_of_its_own:
        before = "O"
        for _, _, chunk in sentence:
            assert chunk[0] != "I" or before[2:] == chunk[2:]  # a chunk begins with B
            before = chunk
        assert len(sentence) <= lesson.LENGTH


def both_directions_and_a_head_of_each_task(lesson):
    variables = [v.op.name for v in lesson.graph.get_collection("trainable_variables")]
    assert variables == [
        *("embedding", "forward_W", "forward_b", "backward_W", "backward_b"),
        *("pos_head", "chunk_head"),
    ]


def the_baseline_is_the_most_frequent_tag(lesson):
    trained = lesson.sentences_of_its_own[: lesson.TRAINED]
    rows = [row for sentence in trained for row in sentence]
    for task, column in lesson.TASKS.items():
        of_word = collections.defaultdict(collections.Counter)
        for row in rows:
            of_word[row[0]][row[column]] += 1
            of_word[""][row[column]] += 1
        tested = lesson.sentences_of_its_own[lesson.TRAINED :]
        right = total = 0
        for row in [row for sentence in tested for row in sentence]:
            counts = of_word[row[0] if row[0] in of_word else ""]
            most = max(sorted(counts), key=counts.get)
            total += row[column] in lesson.ids[column]
            right += most == row[column]
        assert lesson.accuracy["baseline"][task] == pytest.approx(right / total)


def both_ways_beat_the_baseline(lesson):
    for way in ("alternate", "joint"):
        for task in lesson.TASKS:
            assert lesson.accuracy[way][task] > lesson.accuracy["baseline"][task]


CHECKS = (
    the_sentences_are_in_conlls_form,
    both_directions_and_a_head_of_each_task,
    the_baseline_is_the_most_frequent_tag,
    both_ways_beat_the_baseline,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_lesson_10(check):
    lesson = lessons.lesson(10)
    lesson.names["sentences_of_its_own"] = lesson.names["sentences"]
    check(lesson)


def test_lesson_10_runs_on_both_with_no_global_switch():
    lessons.it_runs_on_both_with_no_global_switch(lessons.lesson(10))


@pytest.mark.slow
def test_the_recording_of_lesson_10_verifies(tmp_path):
    path = str(tmp_path / "lesson.npz")
    with recording(path):
        lessons.Lesson(lessons.PATHS[9])
    counts = []
    for case in cases_of(path):
        found = verify(case)
        assert found.passed, found
        counts.append(found.reproduced)
    assert counts == [160, 80]

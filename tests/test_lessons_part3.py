"""Lessons 10 to 12: what they say of their data, their graphs and their accuracies is so."""

import collections

import lessons
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tf1_mtl.baseline.recorded_cases import cases_of
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
    lessons.it_runs_on_both_with_no_global_switch,
)


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_lesson_10(check):
    lesson = lessons.lesson(10)
    lesson.names["sentences_of_its_own"] = lesson.names["sentences"]
    check(lesson)


#: Runs of a session that are verified; those after them are of the same operations.
VERIFIED = 30


def recorded_and_verified(lesson, path):
    """Verifies the first runs of each session of a lesson. Returns how many runs it recorded."""
    with recording(path):
        lessons.Lesson(lessons.PATHS[lesson - 1])
    counts = []
    for case in cases_of(path):
        found = verify(case._replace(steps=case.steps[:VERIFIED]))
        assert found.passed and found.reproduced == VERIFIED, found
        counts.append(len(case.steps))
    return counts


@pytest.mark.slow
def test_the_recording_of_lesson_10_verifies(tmp_path):
    assert recorded_and_verified(10, str(tmp_path / "lesson.npz")) == [160, 80]


def pairs_show_the_same_digit_in_half_of_the_cases(lesson):
    for rows in (range(lesson.TRAINED), range(lesson.TRAINED, 1797)):
        feed = list(lesson.pairs(np.array(rows), 2000).values())
        np.testing.assert_array_equal(feed[4], feed[2] == feed[3])
        assert 0.45 < feed[4].mean() < 0.55
    assert len(lesson.classes) == 1797


def one_tower_sees_both_images(lesson):
    variables = [v.op.name for v in lesson.graph.get_collection("trainable_variables")]
    parts = ("convolution_1", "convolution_2", "digit_1", "digit_2", "same")
    assert variables == [f"{part}_{kind}" for part in parts for kind in "Wb"]
    images = lesson.pictures[:2]
    with tf.Session(graph=lesson.graph) as session:
        session.run(lesson.init)
        both = session.run(lesson.seen, dict.fromkeys(lesson.images, images))
        assert both[0].shape == (2, 64)
        np.testing.assert_array_equal(*both)


def the_comparison_counts_half(lesson):
    feed = lesson.pairs(np.arange(lesson.TRAINED), 50)
    each = {name: tf.reduce_mean(value) for name, value in lesson.losses.items()}
    with tf.Session(graph=lesson.graph) as session:
        session.run(lesson.init)
        total, parts = session.run([lesson.loss, each], feed)
    assert total == pytest.approx(parts["digit_1"] + parts["digit_2"] + parts["same"] / 2)


def one_step_trains_all_outputs(lesson):
    variables = lesson.graph.get_collection("trainable_variables")
    with tf.Session(graph=lesson.graph) as session:
        session.run(lesson.init)
        before = session.run(variables)
        session.run(lesson.train, lesson.pairs(np.arange(lesson.TRAINED), 50))
        changed = [np.any(a != b) for a, b in zip(before, session.run(variables))]
    names = [v.op.name for v in variables]
    assert all(changed), dict(zip(names, changed))


def accuracies_are_of_unseen_images_and_beat_the_most_frequent_answer(lesson):
    unseen = lesson.pictures[lesson.TRAINED :]
    assert len(unseen) == 397
    fed = {picture.tobytes() for i in (0, 1) for picture in lesson.unseen[lesson.images[i]]}
    assert fed <= {picture.tobytes() for picture in unseen}
    for name in ("digit_1", "digit_2", "same"):
        found, chance = lesson.floats(name)
        assert found == pytest.approx(lesson.accuracy[name], abs=6e-4)
        assert found > chance + 0.2


def a_learning_step_lowers_the_loss(lesson):
    losses = [lesson.floats(f"step {step}:")[0] for step in (0, 50, 100, 150)]
    assert losses == sorted(losses, reverse=True)


OF_LESSON_11 = (
    pairs_show_the_same_digit_in_half_of_the_cases,
    one_tower_sees_both_images,
    the_comparison_counts_half,
    one_step_trains_all_outputs,
    accuracies_are_of_unseen_images_and_beat_the_most_frequent_answer,
    a_learning_step_lowers_the_loss,
)


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("check", OF_LESSON_11, ids=lambda check: check.__name__)
def test_lesson_11(check):
    pytest.importorskip("sklearn")
    lesson = lessons.lesson(11)
    with lesson.graph.as_default():
        check(lesson)


@pytest.mark.slow
@pytest.mark.runtime
def test_lesson_11_runs_on_both_with_no_global_switch():
    pytest.importorskip("sklearn")
    lessons.it_runs_on_both_with_no_global_switch(lessons.lesson(11))


@pytest.mark.slow
def test_the_recording_of_lesson_11_verifies(tmp_path):
    pytest.importorskip("sklearn")
    assert recorded_and_verified(11, str(tmp_path / "lesson.npz")) == [200]


@pytest.mark.slow
def test_lesson_12_has_the_bits_of_one_process(namespaces):
    lesson = lessons.lesson(12)
    one, three, same, *sent = lesson.output.splitlines()
    assert one.split()[2:] == three.split()[2:] and len(one.split()) == 5
    assert (one.split()[0], three.split()[0]) == ("1", "3")
    assert same == "The same bits: True"
    ps, *workers = "/job:ps/task:0", "/job:worker/task:0", "/job:worker/task:1"
    for number, worker in enumerate(workers, 1):
        assert f"{ps} {worker} shared_layer" in sent
        assert f"{worker} {ps} Y{number}_Loss" in sent

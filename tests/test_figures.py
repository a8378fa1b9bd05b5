"""Pictures follow the real graph, show what really ran, and nothing in them overlaps."""

import functools
import itertools
import os
import re

import forked
import lesson_pictures
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import done, refused
from needs import needs_matplotlib
from sampling import RUNTIME, one_in, slow, slow_everywhere
from test_other_graphs import RECORDINGS, large_graph

from tf1_mtl import InputError, build_graph, cli
from tf1_mtl.scale.cluster import place
from tf1_mtl.scale.replicas import replicate
from tf1_mtl.teaching import explain, figures, style
from tf1_mtl.teaching.diagram import cut, diagram
from tf1_mtl.teaching.first_graph import build_first_graph
from tf1_mtl.teaching.replica_diagram import replica_diagram

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def many_tasks(names=("digit", "loop", "colour"), use_resource=False):
    """A graph of another shape: any number of tasks, a way around two layers, other optimizers."""
    with tf.Graph().as_default() as graph:
        X = tf.placeholder(tf.float32, [None, 10], name="pictures")
        layer = X
        for number in range(2):
            W = tf.get_variable(f"body_{number}", [10, 10], use_resource=use_resource)
            b = tf.get_variable(f"bias_{number}", [10], use_resource=use_resource)
            layer = tf.nn.relu(tf.matmul(layer, W) + b)
        layer = layer + X
        losses = []
        for name in names:
            Y = tf.placeholder(tf.float32, [None, 5], name=name)
            V = tf.get_variable(f"{name}_head", [10, 5], use_resource=use_resource)
            square = tf.square(Y - tf.matmul(layer, V))
            losses.append(tf.reduce_mean(square, name=f"{name}_loss"))
            tf.train.GradientDescentOptimizer(0.1).minimize(losses[-1], name=f"train_{name}")
        total = tf.add_n(losses, name="total")
        tf.train.MomentumOptimizer(0.1, 0.9).minimize(total, name="train_all")
        tf.train.Saver()
        tf.summary.scalar("summary", total)
    return graph


def unscoped_graph():
    """A long graph without name scopes, with many placeholders and optimizers."""
    with tf.Graph().as_default() as graph:
        layer = tf.placeholder(tf.float32, [None, 4])
        for _ in range(60):
            weight = tf.Variable(np.ones((4, 4), np.float32))
            layer = tf.nn.relu(tf.matmul(layer, weight) + tf.placeholder(tf.float32, []))
        loss = tf.reduce_mean(layer)
        for _ in range(12):
            tf.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=[weight])
    return graph


def replicas(number):
    """The boxes and arrows of a joint step over several workers."""
    net = build_graph(np.random.RandomState(0), batch=None)
    place(net.graph)
    return replica_diagram(replicate(net, number))


@pytest.fixture(scope="module")
def net():
    return build_graph(np.random.RandomState(0))


@pytest.fixture
def path(tmp_path):
    """Where a picture is written."""
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    return tmp_path / "x.svg"


def described(picture):
    """{title: (kind, lines)} of the boxes, and the set of arrows."""
    boxes = {box.title: (box.kind, box.lines) for box in picture.boxes}
    arrows = {
        (picture.boxes[edge.start].title, picture.boxes[edge.end].title) for edge in picture.edges
    }
    assert len(boxes) == len(picture.boxes)
    return boxes, arrows


FORWARD = {
    *(("X", "shared_layer"), ("share_W", "shared_layer")),
    *(("shared_layer", "Y1_layer"), ("share_Y1", "Y1_layer")),
    *(("Y1_layer", "Y1_Loss"), ("Y1", "Y1_Loss")),
    *(("shared_layer", "Y2_layer"), ("share_Y2", "Y2_layer")),
    *(("Y2_layer", "Y2_Loss"), ("Y2", "Y2_Loss")),
}
JOINT = {("Y1_Loss", "Joint_Loss"), ("Y2_Loss", "Joint_Loss"), ("Joint_Loss", "Optimiser")}
ALTERNATE = {("Y1_Loss", "Y1_op"), ("Y2_Loss", "Y2_op")}


@pytest.mark.parametrize("variables", ["ref", "resource"])
def test_the_whole_graph(variables):
    boxes, arrows = described(diagram(build_graph(variables=variables)))
    assert arrows == FORWARD | JOINT | ALTERNATE
    assert boxes["X"] == ("placeholder", ("placeholder [10, 10]",))
    assert boxes["shared_layer"] == ("ops", ("MatMul → Relu", "[10, 20]"))
    assert boxes["Y2_Loss"] == ("ops", ("Sub → L2Loss", "scalar"))
    trained = ("variable [20, 20]", "trained by Optimiser,", "Y1_op")
    adam = ("Adam on Y1_Loss", "trains share_W, share_Y1", "own variables: 6")
    assert boxes["share_Y1"] == ("variable", trained)
    assert boxes["Y1_op"] == ("optimizer", adam)


@pytest.mark.parametrize(
    "only,arrows",
    [
        (("Y1_Loss", "Y2_Loss"), FORWARD),
        (("Y1_op", "Y2_op"), FORWARD | ALTERNATE),
        (("Optimiser",), FORWARD | JOINT),
        (("Y1_Loss",), {arrow for arrow in FORWARD if "Y2" not in "".join(arrow)}),
    ],
)
def test_part_of_the_graph(net, only, arrows):
    assert described(diagram(net, only))[1] == arrows


def test_the_first_graph():
    boxes, arrows = described(diagram(build_first_graph()))
    assert arrows == {("X", "Neg"), ("W", "Neg"), ("Neg", "Loss"), ("Y", "Loss")}
    assert boxes["Neg"] == ("ops", ("MatMul → Neg", "[10, 1]"))
    assert boxes["Loss"][1][0] in ("AddV2 → Pow", "Add → Pow")  # "Add" before TensorFlow 1.15


@pytest.mark.parametrize("use_resource", [False, slow_everywhere(True)])
def test_another_graph_other_names_more_tasks(use_resource):
    names = ("digit", "loop", "colour", "size")
    boxes, arrows = described(diagram(many_tasks(names, use_resource)))
    for name in names:
        loss = f"{name}_loss"
        assert {(name, loss), (loss, f"train_{name}"), (loss, "total")} <= arrows
    assert ("total", "train_all") in arrows
    assert boxes["train_loop"][1][0] == "GradientDescent on"
    renamed = described(diagram(many_tasks(("cat", *names[1:]), use_resource)))[0]
    assert {"cat", "cat_head", "cat_loss", "train_cat"} == set(renamed) - set(boxes)


def test_an_operation_without_an_output_is_drawn():
    net = build_graph()
    with net.graph.as_default():
        checked = tf.Assert(tf.reduce_all(net.X > 0), [tf.shape(net.X)], name="positive")
        with tf.control_dependencies([checked]):
            loss = tf.identity(net.Y1_Loss)
        tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    boxes, _ = described(diagram(net))
    assert [lines[-1] for _, lines in boxes.values()].count("no output") == 1


def test_a_layer_more_is_drawn():
    net = build_graph()
    before = described(diagram(net))
    with net.graph.as_default():
        tf.nn.relu(tf.matmul(net.shared_layer, net.Y1_layer_weights), name="Y3_layer")
    boxes, arrows = described(diagram(net))
    assert set(boxes) - set(before[0]) == {"Y3_layer"}
    assert arrows - before[1] == {("shared_layer", "Y3_layer"), ("share_Y1", "Y3_layer")}


@pytest.mark.parametrize("graph", [build_graph, many_tasks])
def test_arrows_point_down_and_rows_hold_no_two_things_in_one_place(graph):
    picture = diagram(graph())
    places = [(box.column, box.row) for box in picture.boxes]
    for edge in picture.edges:
        assert picture.boxes[edge.start].row < picture.boxes[edge.end].row
        places += edge.way
    assert len(places) == len(set(places))


def boxes_of(figure):
    from matplotlib.patches import FancyBboxPatch

    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


PICTURES = {
    "whole": lambda: (build_graph(), None),
    "first": lambda: (build_first_graph(), ["Loss"]),
    "a run of task 1": lambda: (build_graph(), ["Y1_op", "Y1_Loss"]),
    "a joint run": lambda: (build_graph(), ["Optimiser", "Joint_Loss"]),
    "half a layer": lambda: (build_graph(), ["MatMul_1"]),
    "many tasks": lambda: (many_tasks(), ["train_loop"]),
    "large": lambda: (large_graph(), ["train_digit"]),
    "no scopes": lambda: (unscoped_graph(), ["Mean"]),
    "replicas": lambda: (replicas(3), None),
    "long names": lambda: (many_tasks(["short", "a_name_of_more_than_thirty_letters"]), ["total"]),
}

QUICK_PICTURES = ("a run of task 1", "long names")
every_picture = pytest.mark.parametrize(
    "picture", [name if name in QUICK_PICTURES else slow_everywhere(name) for name in PICTURES]
)


@functools.lru_cache(maxsize=None)
def graph_and_fetches(picture):
    return PICTURES[picture]()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b", "a/b"),
        ("encoder/block_3/a_long_name_of_a_layer/", "encoder/block_3/…_a_layer/"),
        ("one_name_without_any_scope_in_it", "…e_without_any_scope_in_it"),
        ("of/many/short/scopes/in/a/row/here", "…hort/scopes/in/a/row/here"),
    ],
)
def test_long_names_keep_what_tells_them_apart(name, shown):
    assert cut(name, 26) == shown


@needs_matplotlib
@every_picture
def test_nothing_overlaps_and_nothing_is_cut(picture):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    graph, fetches = graph_and_fetches(picture)
    explanation = explain(fetches, graph=graph) if fetches else None
    figure = figures.paint(graph, None, explanation, "A title\nsession.run([...])")
    renderer = FigureCanvasAgg(figure).get_renderer()
    everything = figure.bbox
    boxes = [patch.get_window_extent(renderer) for patch in boxes_of(figure)]
    texts = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for one, other in itertools.combinations(texts, 2):
        # Lines of text may touch, since letters do not fill the height that a font reserves.
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        assert width <= 0 or height < 0.25 * one.height
    for item in [*boxes, *texts]:
        assert everything.x0 <= item.x0 and item.x1 <= everything.x1
        assert everything.y0 <= item.y0 and item.y1 <= everything.y1
    inside = 0
    for text in texts:
        homes = [box for box in boxes if box.overlaps(text)]
        assert len(homes) <= 1
        for box in homes:
            assert box.x0 <= text.x0 and text.x1 <= box.x1
            assert box.y0 <= text.y0 and text.y1 <= box.y1
            inside += 1
    assert inside > len(boxes)


@pytest.mark.slow
def test_a_large_graph_is_folded_by_scope():
    picture = diagram(large_graph())
    titles = [box.title for box in picture.boxes]
    blocks = [f"encoder/block_{number}/" for number in range(6)]
    assert [title for title in titles if "block" in title] == blocks
    assert 20 < len(titles) <= 26
    block = picture.boxes[titles.index("encoder/block_3/")]
    assert block.kind == "part" and block.lines[-1] == "variables: 6"
    (left_out,) = picture.left_out
    folded, boxes, rest = map(int, re.findall(r"\d+", left_out))
    assert boxes == len(titles) - 2  # without the optimizers
    drawn = {node for box in picture.boxes for node in box.nodes}
    assert rest + len(drawn) == len(large_graph().get_operations()) and 100 < folded < len(drawn)
    assert diagram(many_tasks()).left_out == ()


def test_many_optimizers_and_placeholders_are_folded():
    picture = diagram(unscoped_graph())
    kinds = [box.kind for box in picture.boxes]
    assert (kinds.count("optimizer"), kinds.count("placeholder")) == (8, 0)
    assert len(kinds) <= 32
    assert picture.left_out[1] == "not drawn: 4 of the optimizers"
    starts = [(edge.start, edge.end) for edge in picture.edges]
    assert len(starts) == len(set(starts)) and all(start < end for start, end in starts)


@pytest.mark.slow
def test_a_large_picture_says_what_is_left_out(path):
    graph = large_graph()
    figures.draw(str(path), graph, explanation=explain("train_digit", graph=graph))
    texts = svg_texts(path)
    assert any(text.startswith("folded: ") for text in texts)
    assert "… : a part of a long name is left out" in texts
    assert texts.count("WRITTEN variables: 6") == 6 and "does not run" in texts
    assert max(map(len, texts[:-4])) < 40
    figures.draw(str(path), graph, language="zh")
    assert [text for text in svg_texts(path) if re.match("folded|and |variables", text)] == []


@pytest.mark.parametrize("name", one_in(4, ["alternate", *sorted(os.listdir(RECORDINGS))]))
def test_every_recording_is_drawn(name, path, capsys):
    golden = name if name == "alternate" else os.path.join(RECORDINGS, name)
    done(capsys, "draw", "--golden", golden, "--fetch", "init", "-o", path)
    texts = svg_texts(path)
    assert name in texts and "session.run([init])" in texts
    assert any(text.startswith("WRITTEN") for text in texts)


@pytest.mark.slow
@pytest.mark.runtime
def test_a_script_is_drawn(path):
    script = os.path.join(ROOT, "tests", "training_scripts", "several_losses.py")
    ran = forked.tf1_mtl("draw", "--script", script, "-o", path)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert "several_losses.py" in svg_texts(path)


@needs_matplotlib
@every_picture
def test_arrows_cross_no_box(picture):
    from matplotlib.patches import FancyArrowPatch

    figure = figures.paint(graph_and_fetches(picture)[0])
    boxes = [patch.get_bbox() for patch in boxes_of(figure)]
    arrows = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert arrows
    for arrow in arrows:
        points = arrow._path_original.vertices
        for start, end in zip(points, points[1:]):
            x, y = (start + np.linspace(0, 1, 50)[:, np.newaxis] * (end - start)).T
            for box in boxes:
                within = (box.x0 + 1e-6 < x) & (x < box.x1 - 1e-6)
                low, high = sorted([box.y0, box.y1])
                assert not np.any(within & (low + 1e-6 < y) & (y < high - 1e-6))


def svg_texts(path):
    with open(str(path), encoding="utf-8") as file:
        return re.findall(r"<text[^>]*>([^<]*)</text>", file.read())


def test_a_run_is_told_in_words_and_lines_not_in_colour_alone(net, path):
    found = explain(["Y1_op", "Y1_Loss"], graph=net)
    figures.draw(str(path), net, explanation=found, title=figures.run_title(found))
    texts = svg_texts(path)
    assert texts.count("CHANGED by this run") == 2  # share_W, share_Y1
    assert texts.count("not touched") == 1  # share_Y2
    assert texts.count("must be fed") == 2
    assert texts.count("need not be fed") == 1
    assert texts.count("does not run") == 5  # Y2_layer, Y2_Loss, Y2_op, Joint_Loss, Optimiser
    assert "session.run([Y1_op, Y1_Loss])" in texts
    styles = [box.get_linestyle() for box in boxes_of(figures.paint(net, None, found))]
    assert styles.count(":") == 7


def painted_texts(net, explanation):
    return [text.get_text() for text in figures.paint(net, None, explanation).axes[0].texts]


@needs_matplotlib
def test_what_init_writes_is_not_called_read(net):
    found = explain("init", graph=net)
    texts = painted_texts(net, found)
    assert texts.count("WRITTEN, same value") == 3 and "read, not changed" not in texts
    planned_only = found._replace(changed=None, measured=None)
    assert painted_texts(net, planned_only).count("WRITTEN by this run") == 3


@needs_matplotlib
@pytest.mark.parametrize("fetches,written", [(["Y1_op"], 2), (["init"], 3), (["Y1_Loss"], 0)])
def test_a_thick_border_is_what_the_legend_says(net, fetches, written):
    figure = figures.paint(net, None, explain(fetches, graph=net))
    widths = sorted(box.get_linewidth() for box in boxes_of(figure))
    assert [width for width in widths if width > 2] == [3.0] * written
    assert all(width < 1.5 for width in widths[: len(widths) - written])
    assert "thick border: written by this run" in figure.axes[0].texts[-1].get_text()


def test_half_a_box(net, path):
    figures.draw(str(path), net, explanation=explain("MatMul_1", graph=net))
    assert "not run: Relu_1" in svg_texts(path)


@needs_matplotlib
def test_the_same_graph_gives_the_same_file(net, tmp_path):
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        figures.draw(str(path), net, title="the same")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    figures.draw(str(tmp_path / "c.png"), net)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.svg", "b.svg", "c.png"]


@needs_matplotlib
@pytest.mark.parametrize(
    "name,message",
    [
        ("x.gif", "the ending should be one of .png, .svg"),
        ("x", "the ending should be one of"),
        ("nowhere/x.svg", "there is no folder"),
        ("folder.svg", "cannot be written"),
    ],
)
def test_a_path_that_cannot_be_written(net, tmp_path, name, message):
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(InputError, match=message):
        figures.draw(str(tmp_path / name), net)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.svg"]


def test_a_graph_without_anything_to_draw(path):
    with pytest.raises(InputError, match="computes nothing"):
        figures.draw(str(path), tf.Graph())


#: What cannot be drawn: arguments, and the message.
BAD = [
    ("--fetch Y1_opp -o x.svg", "Near: Y1_op"),
    ("first --fetch Y1_op -o x.svg", ""),
    ("-o x.bmp", ""),
    ("--golden joint --fetch Y1_opp -o x.svg", "joint: 'Y1_opp': not in the graph"),
    ("whole --golden joint -o x.svg", "whole: is a figure of the article"),
    ("--golden none.npz -o x.svg", ""),
    *(
        (f"{graph} --cluster local -o x.svg", "--cluster: places the graph of both tasks alone")
        for graph in ("first", "--golden alternate")
    ),
]


@needs_matplotlib
@pytest.mark.parametrize("args, message", BAD, ids=[args for args, _ in BAD])
def test_the_command_refuses(args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "draw", *args.split(), folder=tmp_path)


def test_the_command_draws_in_chinese(path, capsys):
    done(capsys, "draw", "joint", "--fetch", "Y1_op", "--lang", "zh", "-o", path)
    texts = svg_texts(path)
    assert {"本次运行改变了它", "不运行", "必须喂入", "未触及", "占位符 [10, 10]"} <= set(texts)
    assert "联合训练：一个优化器最小化损失之和" in texts
    assert [text for text in texts if re.search("[a-z] [a-z]", text)] == []  # names have no blank


@needs_matplotlib
def test_a_png_file_in_chinese_needs_a_font(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(style, "_installed_fonts", lambda: {"DejaVu Sans"})
    err = refused(capsys, "draw", "--lang", "zh", "-o", tmp_path / "x.png", folder=tmp_path)
    assert "Install one, or write .svg" in err


#: The pictures kept in legacy_examples/figures, and the arguments of `tf1-mtl draw` that made them.
KEPT = {
    "first_graph.svg": ["first"],
    "shared_layer.svg": ["shared"],
    "alternate_training.svg": ["alternate"],
    "joint_training.svg": ["joint"],
    "over_processes.svg": ["joint", "--cluster", "local"],
    "run_of_task_1.svg": ["--fetch", "Y1_op", "--fetch", "Y1_Loss"],
}


LOCAL = ("--cluster", "local")


@needs_matplotlib
@pytest.mark.parametrize(
    "options, message",
    [
        (("first", *LOCAL), "--cluster: places the graph of both tasks alone"),
        (("--golden", "alternate", *LOCAL), "--cluster: places the graph of both tasks alone"),
        (("--replicas", "2"), "--replicas: these are workers of a cluster."),
        (("whole", "--replicas", "2", *LOCAL), "--replicas: makes joint steps, but not whole."),
        (("--fetch", "Y1_op", "--replicas", "2", *LOCAL), "Name Optimiser or Joint_Loss."),
        (("--replicas", "11", *LOCAL), "--replicas: 11, but a step has only 10 rows."),
    ],
)
def test_a_cluster_has_the_graph_of_both_tasks(options, message, tmp_path, capsys):
    path = str(tmp_path / "x.svg")
    assert cli.main(["draw", *options, "-o", path]) == 2
    assert message in capsys.readouterr().err
    assert not os.path.exists(path)


@pytest.mark.slow
@pytest.mark.runtime
@needs_matplotlib
def test_each_replica_is_drawn_on_its_worker(tmp_path):
    path = tmp_path / "x.svg"
    command = ["draw", *LOCAL, "--replicas", "3", "--fetch", "Joint_Loss", "-o", str(path)]
    assert cli.main(command) == 0
    texts = svg_texts(path)
    for worker in range(3):
        replica = texts.index(f"replicas/{worker}/")
        assert texts[replica + 3] == f"on worker/{worker}"
    assert texts.count("does not run") == 1  # Optimiser
    assert texts[-1].startswith("replicas/0/, ...: the layers for a part of the rows each")
    assert cli.main([*command, "--lang", "zh"]) == 0
    assert [text for text in svg_texts(path) if re.search("[a-z] [a-z]", text)] == []


@needs_matplotlib
@pytest.mark.parametrize("name", one_in(4, reversed(list(KEPT)), RUNTIME))
def test_the_kept_pictures_are_current(name, path, capsys):
    done(capsys, "draw", *KEPT[name], "-o", path)
    assert_same_texts(name, path)


def assert_same_texts(name, path):
    """A drawn picture has the same text as the stored one."""
    kept = svg_texts(os.path.join(ROOT, "legacy_examples", "figures", name))
    drawn = svg_texts(path)
    assert len(drawn) > 10
    # TensorFlow 1.13 and 1.14 add with "Add".
    assert kept == [re.sub(r"\bAdd\b", "AddV2", text) for text in drawn]


def test_every_kept_picture_is_checked_and_its_command_documented():
    folder = os.path.join(ROOT, "legacy_examples", "figures")
    svg = {name for name in os.listdir(folder) if name.endswith(".svg")}
    assert svg == {*KEPT, *lesson_pictures.PICTURES}
    with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
        text = file.read()
    for name, args in KEPT.items():
        command = f"`tf1-mtl draw {' '.join(args)} -o legacy_examples/figures/{name}`"
        assert f"]({name}) | {command} |" in text


@pytest.mark.parametrize("name", [*map(slow, lesson_pictures.PICTURES)])
def test_the_pictures_of_lessons_are_current(name, path):
    if name == "two_images.svg":
        pytest.importorskip("sklearn")
    lesson_pictures.draw(name, str(path))
    assert_same_texts(name, path)

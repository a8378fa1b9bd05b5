"""Loss curves: one look a task, named axes, and nothing left behind when they cannot be written."""

import re
import sys

import numpy as np
import pytest
from needs import needs_matplotlib

from tf1_mtl import InputError, Step
from tf1_mtl.errors import MissingExtra
from tf1_mtl.teaching import curves, style


def steps(losses, task=None):
    tasks = [task] if task else ["Y1", "Y2"]
    return [Step(i, tasks[i % len(tasks)], np.float32(x)) for i, x in enumerate(losses)]


def axes_of(some):
    return curves.paint(some).axes[0]


@needs_matplotlib
def test_each_task_has_its_own_colour_marker_and_line():
    joint = [Step(4, "joint", np.float32(9)), Step(5, "joint", np.float32(8))]
    lines = axes_of([*steps([4, 3, 2, 1]), *joint]).get_lines()
    assert [line.get_label() for line in lines] == ["task Y1", "task Y2", "both tasks (joint)"]
    for look in ("get_color", "get_marker", "get_linestyle"):
        assert len({getattr(line, look)() for line in lines}) == 3
    assert list(lines[0].get_xdata()) == [0, 2]
    assert list(lines[1].get_ydata()) == [3, 1]
    assert list(lines[2].get_xdata()) == [4, 5]


@needs_matplotlib
def test_a_long_run_is_drawn_pale_with_means_over_it():
    losses = np.linspace(9, 1, 300)
    axes = axes_of(steps(losses, task="Y1"))
    every, means = axes.get_lines()
    assert list(every.get_ydata()) == list(losses.astype(np.float32))
    assert every.get_alpha() < 0.5
    assert means.get_label() == "task Y1, mean of 5 steps"
    assert list(means.get_xdata()) == list(range(2, 300, 5))
    np.testing.assert_allclose(means.get_ydata(), losses[2::5], rtol=1e-6)  # float32 sums
    assert len(axes_of(steps(losses[:60], task="Y1")).get_lines()) == 1


@needs_matplotlib
def test_one_step_alone():
    axes = axes_of([Step(0, "joint", np.float32(9))])
    assert axes.get_xlim() == (-0.5, 0.5)


@needs_matplotlib
@pytest.mark.parametrize(
    "losses,scale",
    [([9, 8, 7, 6], "linear"), ([1000, 500, 20, 100], "log"), ([1000, 10, 0, 1], "linear")],
)
def test_the_scale_is_logarithmic_where_it_helps(losses, scale):
    assert axes_of(steps(losses)).get_yscale() == scale


@needs_matplotlib
def test_axes_say_what_they_show():
    axes = axes_of(steps([3, 2]))
    assert axes.get_xlabel() == "step (the first is 0)"
    assert axes.get_ylabel() == "loss before the update\n(sum of squares / 2; no unit)"


@needs_matplotlib
@pytest.mark.parametrize("count", [1, 2, 10, 5000])
def test_the_legend_hides_no_point(count):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = curves.paint(steps(np.linspace(9, 1, count)))
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    legend = axes.get_legend().get_window_extent()
    assert not legend.overlaps(axes.get_window_extent())
    assert figure.bbox.x1 >= legend.x1 and figure.bbox.y1 >= legend.y1
    assert not legend.overlaps(axes.yaxis.get_offset_text().get_window_extent())


@needs_matplotlib
@pytest.mark.parametrize("ending", ["svg", "png", "SVG"])
def test_written_files(tmp_path, ending):
    path = tmp_path / f"curves.{ending}"
    curves.plot(steps([4, 3, 2, 1]), str(path))
    data = path.read_bytes()
    if ending == "png":
        assert data.startswith(b"\x89PNG")
    else:
        assert "task Y2" in re.findall(r"<text[^>]*>([^<]*)</text>", data.decode())
    assert list(tmp_path.iterdir()) == [path]


@needs_matplotlib
def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="no steps"):
        curves.plot([], str(tmp_path / "x.svg"))
    with pytest.raises(InputError, match=r"the ending should be one of \.png, \.svg"):
        curves.plot(steps([1]), str(tmp_path / "x.pdf"))
    with pytest.raises(InputError, match="there is no folder"):
        style.check_path(str(tmp_path / "nowhere" / "x.svg"))
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tf1-mtl\[plot\]'"):
        curves.plot(steps([1]), str(tmp_path / "x.svg"))

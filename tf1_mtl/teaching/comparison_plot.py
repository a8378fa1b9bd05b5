"""The picture of a comparison: each regime's loss as a multiple of the loss alone."""

from typing import Any, Dict

from tf1_mtl.errors import require
from tf1_mtl.teaching import style
from tf1_mtl.teaching.comparison_report import nothing_learned, shows_nothing
from tf1_mtl.teaching.comparison_settings import WORDS


def plot(found: Dict[str, Any], path: str) -> None:
    """Draws a report's losses against training alone into a PNG or SVG file.

    Args:
      found: From `comparison_report.report`.
      path: Ends with .png or .svg.

    Raises:
      InputError: The path cannot be written.
      MissingExtra: matplotlib is not installed.
    """
    settings = found["settings"]
    heights = [len(setting["regimes"]) - 1 for setting in settings]
    figure = style.new_figure(8, 0.42 * sum(heights) + 0.75 * len(settings) + 1.2)
    grid = figure.add_gridspec(len(settings), 1, height_ratios=heights)
    axes: Any = None
    for row, setting in enumerate(settings):
        axes = figure.add_subplot(grid[row], sharex=axes)
        _draw(axes, setting)
    ticker = require("matplotlib.ticker", "plot")
    low, high = axes.get_xlim()
    if high < 7 * low:  # too narrow to hold three of 0.5, 1, 2, 5, ...
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=(1, 2, 5, 10)))
    else:
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    figure.supxlabel(
        "Loss on rows held out, as a multiple of the task's loss when trained alone "
        "(logarithmic).\n"
        f"Marker: median of {found['seeds']} seeds. Line: the interval that holds the median of "
        f"all seeds with {found['interval']['coverage']:.1%}.\n"
        "Hollow and dotted: the task learned nothing there, and the multiple says nothing about "
        "learning.",
        fontsize=9,
    )
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="upper right")
    figure.tight_layout()
    style.save(figure, path, "Alternate and joint training against each task alone")


def _draw(axes: Any, setting: Dict[str, Any]) -> None:
    regimes = [name for name in setting["regimes"] if name != "alone"]
    for task, offset in (("Y1", -0.16), ("Y2", 0.16)):
        look = {**style.LOOKS[task], "linestyle": "none"}
        for place, name in enumerate(regimes):
            ratio = setting["regimes"][name]["against_alone"][task]
            empty = shows_nothing(setting, name, task)
            faint = {"alpha": 0.5, "linestyle": ":"} if empty else {}
            ends = [ratio["low"], ratio["high"]]
            axes.plot(ends, [place + offset] * 2, **{"color": look["color"], **faint})
            hollow = {"markerfacecolor": "white", "alpha": 0.5} if empty else {}
            axes.plot(ratio["median"], place + offset, **{**look, **hollow})
        axes.plot([], [], label=f"task {task}", **look)
    axes.axvline(1, color="#666666", linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_yticks(range(len(regimes)))
    axes.set_yticklabels([WORDS[name] for name in regimes])
    axes.set_ylim(len(regimes) - 0.5, -0.5)
    lines = [
        setting["data"],
        f"{setting['start']} start, learning rate {setting['learning_rate']:g}",
        *(
            f"NOTHING LEARNED of {tasks} {where} (loss above a constant guess)"
            for tasks, where in nothing_learned(setting).items()
        ),
    ]
    axes.set_title("\n".join(lines), loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)

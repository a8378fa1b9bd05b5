"""The tables and the picture of the benchmark."""

from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from tests.benchmarks import BASELINE, OURS
from tests.benchmarks.rounds import A_SEED, BY_HAND, Missing, Timing, ratio, ratio_quartiles

Table = Tuple[Any, str]  # what goes into JSON, and the text

#: Bytes that the triad moves for each weight: it reads two float32 arrays and writes one.
_TRIAD_BYTES = 12

#: Bytes that a joint step moves for each weight, if each operation reads and writes an array once:
#: the forward pass 4, the gradient of the shared layer 8 / 3 (it needs two of the three arrays of
#: weights), the gradient itself 4, and Adam 28 (it reads weight, m, v and gradient, and writes
#: weight, m and v).
_STEP_BYTES = 4 + 8 / 3 + 4 + 28


def steps(timings: Mapping[str, Any], contenders: Mapping[str, Any], goals: Sequence[Any]) -> Table:
    """Returns the time of a step of every contender, and the goals."""
    session = timings["session"]
    rows: Dict[str, Any] = {}
    lines = [f"{'':18}{'us a step':>10}{'quartiles':>16}{'x session':>11}  loss off by"]
    for name, timing in timings.items():
        if isinstance(timing, Missing):
            rows[name] = {"missing": timing.why}
            lines.append(f"{name:18}{'-':>10}  {timing.why}")
            continue
        low, median, high = np.percentile(timing.seconds * 1e6, [25, 50, 75])
        against = ratio(timing, session)
        off = abs(timing.last / session.last - 1)
        rows[name] = {"microseconds": median, "quartiles": [low, high]}
        rows[name].update(of_session=against, loss_off_by=off)
        spread = f"{low:.1f}-{high:.1f}"
        lines.append(
            f"{name:18}{median:10.1f}{spread:>16}{against:11.3f}  {off:.0e}  "
            f"{contenders[name].what}"
        )
    reached = []
    lines += ["", f"{'time of':18}{'against':15}{'ratio':>8}{'quartiles':>14}{'goal':>8}"]
    for name, other, goal in goals:
        if all(isinstance(timings.get(each), Timing) for each in (name, other)):
            low, value, high = ratio_quartiles(timings[name], timings[other])
            found = {"time": name, "against": other, "ratio": value}
            reached.append({**found, "quartiles": [low, high], "goal": goal})
            verdict = "reached" if value <= goal else "not reached"
            spread = f"{low:.2f}-{high:.2f}"
            lines.append(f"{name:18}{other:15}{value:8.2f}{spread:>14}{goal:8.2f}  {verdict}")
    return {"contenders": rows, "goals": reached}, "\n".join(lines)


def widths(measured: Sequence[Tuple[int, int, int, Mapping[str, Any]]]) -> Table:
    """Returns the step modes against width and batch, as shares of the matrix-multiply rate."""
    names = [name for name in measured[0][3] if name not in BASELINE]
    lines = [
        "milliseconds a step, and in brackets the share of it that the eight matrix products",
        "of the step take by themselves, by the matmul of TensorFlow on all cores; then the",
        "share that its weights and slots take to be moved, at the GB/s of a triad",
        f"{'width':>6}{'batch':>7}{'GFLOP/s':>9}{'GB/s':>7}"
        + "".join(f"{name:>23}" for name in names),
    ]
    rows: List[Any] = []
    for width, batch, flops, timings in measured:
        products = timings["products"]
        rate = flops / np.median(products.seconds) / 1e9
        bandwidth = _TRIAD_BYTES * 3 * width**2 / np.median(timings["triad"].seconds)
        row: Dict[str, Any] = {"width": width, "batch": batch, "gigaflops": rate}
        row["gigabytes"] = bandwidth / 1e9
        cells = []
        for name in names:
            if isinstance(timings[name], Missing):
                row[name] = {"missing": timings[name].why}
                cells.append(f"{'-':>23}")
                continue
            milliseconds = float(np.median(timings[name].seconds) * 1e3)
            share = ratio(products, timings[name])
            moved = _STEP_BYTES / _TRIAD_BYTES * ratio(timings["triad"], timings[name])
            row[name] = {"milliseconds": milliseconds, "share": share, "moved": moved}
            cells.append(f"{f'{milliseconds:.3g} ({share:.0%}, {moved:.0%})':>23}")
        rows.append(row)
        lines.append(f"{width:6}{batch:7}{rate:9.1f}{bandwidth / 1e9:7.1f}" + "".join(cells))
    return rows, "\n".join(lines)


def commands(seconds: Mapping[str, Any]) -> Table:
    """Returns the time of a step of whole commands, and its ratio to that of NumPy by hand."""
    lines = [f"{'':30}{'us':>9}{'of NumPy by hand, with quartiles':>36}"]
    rows: Dict[str, Any] = {}
    for name, values in seconds.items():
        if isinstance(values, Missing):
            rows[name] = {"missing": values.why}
            lines.append(f"{name:30}{'-':>9}  {values.why}")
            continue
        rows[name] = {"microseconds": float(np.median(values) * 1e6)}
        line = f"{name:30}{rows[name]['microseconds']:9.1f}"
        if name != A_SEED:
            low, middle, high = np.percentile(values / seconds[BY_HAND], [25, 50, 75])
            rows[name]["of_numpy"] = [low, middle, high]
            line += f"{f'{middle:.2f} ({low:.2f}-{high:.2f})':>36}"
        lines.append(line)
    return rows, "\n".join(lines)


def memory(timings: Mapping[str, Any]) -> Table:
    """Returns the memory of each step mode over many steps."""
    lines = [f"{'':12}{'peak MB':>9}{'steps':>12}{'growth in MB':>14}"]
    rows = {}
    for name, timing in timings.items():
        if isinstance(timing, Missing):
            lines.append(f"{name:12}{'-':>9}  {timing.why}")
            continue
        rows[name] = {"peak": timing.peak, "grown": timing.grown, "steps": timing.steps}
        lines.append(f"{name:12}{timing.peak:9.0f}{timing.steps:12,}{timing.grown:14.2f}")
    return rows, "\n".join(lines)


def start(seconds: Mapping[str, np.ndarray]) -> Table:
    """Returns the time from the shell to the first loss."""
    against = float(np.median(seconds["first loss"] / seconds["import tensorflow"]))
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    text = ", ".join(f"{name} {value:.2f} s" for name, value in medians.items())
    return {**medians, "ratio": against}, f"{text}: ratio {against:.2f} (goal 1.1)"


def plot(result: Mapping[str, Any], path: str) -> None:
    """Draws the time of a step of each contender as bars, on a logarithmic scale."""
    from tf1_mtl.teaching import style  # imports TensorFlow, which the tables do without

    rows = result["steps"]["contenders"]
    times = {name: row["microseconds"] for name, row in rows.items() if "microseconds" in row}
    names = sorted(times, key=times.__getitem__, reverse=True)
    figure = style.new_figure(7, 0.35 * len(names) + 1.2)
    axes = figure.add_subplot()
    colours = [style.BLUE if name in OURS else "#999999" for name in names]
    labels = [f"{name} (ours)" if name in OURS else name for name in names]
    bars = axes.barh(labels, [times[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xscale("log")
    axes.set_xlabel("microseconds a joint step (log scale)")
    axes.margins(x=0.15)
    figure.tight_layout()
    style.save(figure, path, "Microseconds a joint step")

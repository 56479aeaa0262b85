"""docs/bench.png: throughput beside others, and lateness."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from local.bench.figures import Figure

OURS, OTHERS, INK = "#1b7f4d", "#a9b4bf", "#22303c"


def draw(figures: Sequence[Figure], caption: str, path: Path) -> None:
    throughput = [f for f in figures if f.subject == "throughput"]
    late = [f for f in figures if f.subject == "lateness" and f.unit == "ms" and "scheduled_at" in f.what]
    plt.rcParams.update(
        {"font.size": 10, "text.color": INK, "axes.labelcolor": INK, "ytick.color": INK, "xtick.color": INK}
    )
    canvas, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(2, 1))
    draw_throughput(left, throughput)
    draw_lateness(right, late)
    canvas.text(0.01, 0.01, caption, fontsize=8, color="#667480")
    canvas.tight_layout(rect=(0, 0.04, 1, 1))
    canvas.savefig(path, dpi=130)
    plt.close(canvas)


def draw_throughput(axes: Axes, figures: Sequence[Figure]) -> None:
    """Longest first; each bar says its rate, and how many times as fast one daemon of ours is."""
    ordered = sorted(figures, key=lambda f: f.value)
    colors = [OURS if f.what.startswith("this daemon") else OTHERS for f in ordered]
    bars = axes.barh([f.what for f in ordered], [f.value for f in ordered], color=colors)
    labels = [
        f"{f.value:,.0f}/s" + ("" if "daemon" in f.what else f"   (one daemon: {f.ratio:.1f} times that)")
        for f in ordered
    ]
    axes.bar_label(bars, labels, padding=4, fontsize=9)
    axes.set_xlim(0, max(f.value for f in ordered) * 1.45)
    axes.set_title("Messages a second, the whole way (others: SQL, without the API)", loc="left", fontsize=11)
    tidy(axes)


def draw_lateness(axes: Axes, figures: Sequence[Figure]) -> None:
    bars = axes.bar([f.what.rsplit(", ", 1)[1] for f in figures], [f.value for f in figures], color=OURS, width=0.55)
    axes.bar_label(bars, [f"{f.value:.0f} ms" for f in figures], padding=3)
    axes.set_ylabel("ms after scheduled_at")
    axes.set_title("Lateness, scheduled ahead", loc="left", fontsize=11)
    tidy(axes)


def tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)

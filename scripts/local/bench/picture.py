"""docs/bench.png: throughput beside others, and lateness."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from local.bench.figures import Figure

OURS, OTHERS, INK = "#1b7f4d", "#a9b4bf", "#22303c"
US = "this daemon"
SHARES = ("p50", "p99")


def draw(figures: Sequence[Figure], caption: str, path: Path) -> None:
    throughput = [f for f in figures if f.subject == "throughput"]
    late = [
        f for f in figures
        if f.subject == "lateness" and f.what.endswith(SHARES) and ("scheduled_at" in f.what or "control" in f.what)
    ]  # fmt: skip
    plt.rcParams.update(
        {"font.size": 10, "text.color": INK, "axes.labelcolor": INK, "ytick.color": INK, "xtick.color": INK}
    )
    canvas, (left, right) = plt.subplots(1, 2, figsize=(14, 4.8), width_ratios=(3, 2))
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
    """A median and a p99 for each, on a logarithmic scale."""
    names = list(dict.fromkeys(name(f) for f in figures))[::-1]
    for offset, share, shade in ((0.18, "p50", 1.0), (-0.18, "p99", 0.55)):
        found = {name(f): f.value for f in figures if f.what.endswith(share)}
        colors = [OURS if one == US else OTHERS for one in names]
        at = [place + offset for place in range(len(names))]
        bars = axes.barh(at, [found[one] for one in names], height=0.34, color=colors, alpha=shade)
        axes.bar_label(bars, [f"{share} {found[one]:,.0f} ms" for one in names], padding=4, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_xscale("log")
    axes.set_xlim(1, max(f.value for f in figures) * 12)
    axes.set_title("Lateness of what was scheduled ahead, ms", loc="left", fontsize=11)
    tidy(axes)


def name(figure: Figure) -> str:
    """Whose it is: "graphile-worker, sent_at - scheduled_at, p50"."""
    who = figure.what.rpartition(", ")[0].removesuffix("sent_at - scheduled_at").removesuffix(", ")
    return "an empty call" if who.startswith("control") else who or US


def tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)

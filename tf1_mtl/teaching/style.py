"""Sets the look of every picture, and writes it.

The colours are those of Okabe and Ito, which colour-blind readers can distinguish. Print may be
grey, so no picture shows anything by colour alone.
"""

import contextlib
import os
import warnings
from typing import Any, Dict, Iterator, Set

from tf1_mtl.errors import InputError, require
from tf1_mtl.files import check_place, replacing

#: Okabe, M. and Ito, K., "Color Universal Design" (2008).
BLUE = "#0072B2"
GREEN = "#009E73"
VERMILLION = "#D55E00"

#: How the losses of each task are drawn. Colour, marker and line differ together, so that
#: tasks can be distinguished in grey print too.
LOOKS = {
    "Y1": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "Y2": {"color": VERMILLION, "marker": "s", "linestyle": "--"},
    "joint": {"color": GREEN, "marker": "^", "linestyle": "-."},
}

FORMATS = (".png", ".svg")

#: SVG stores text as text, which can be searched and scaled. The same picture gives the same
#: file.
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "tf1-mtl"}
_CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Noto Sans CJK JP", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei", "SimHei"),
)
#: A README shows pictures about 800 pixels wide. Twice that many are sharp on any screen.
_DOTS_PER_INCH = 200


def check_path(path: str) -> None:
    """Raises an error if a picture cannot be written here. Call it before long work.

    Args:
      path: The .png or .svg file, in a folder that exists.

    Raises:
      InputError: The ending is another, or the file cannot be written.
      MissingExtra: matplotlib is not installed.
    """
    require("matplotlib", "plot")
    if os.path.splitext(path)[1].lower() not in FORMATS:
        raise InputError(f"{path}: the ending should be one of {', '.join(FORMATS)}. Rename it.")
    check_place(path)


@contextlib.contextmanager
def font_of(language: str, path: str) -> Iterator[None]:
    """Sets a font that has the letters of the language, for a picture painted in the `with` block.

    Text in SVG is stored as text, and the program that shows the file chooses the font.

    Raises:
      InputError: A PNG file should have Chinese text, but a font for it is not installed.
    """
    family = "sans-serif"
    if language == "zh" and path.lower().endswith(".png"):
        found = [name for name in _CHINESE_FONTS if name in _installed_fonts()]
        if not found:
            raise InputError(
                f"{path}: no font with Chinese letters is installed, but should be one of "
                f"{', '.join(_CHINESE_FONTS)}. Install one, or write .svg, which needs none."
            )
        family = found[0]
    in_family = require("matplotlib", "plot").rc_context({"font.family": family})
    with in_family, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def _installed_fonts() -> Set[str]:
    """Returns the names of all fonts, including those that matplotlib has not listed yet."""
    fonts = require("matplotlib.font_manager", "plot")
    listed = {font.fname for font in fonts.fontManager.ttflist}
    for path in set(fonts.findSystemFonts()) - listed:
        with contextlib.suppress(Exception):  # a font that matplotlib cannot read is left out
            fonts.fontManager.addfont(path)
    return {font.name for font in fonts.fontManager.ttflist}


def new_figure(width: float, height: float) -> Any:
    """Returns an empty figure of this size in inches, without a window or global state."""
    return require("matplotlib.figure", "plot").Figure(figsize=(width, height))


def save(figure: Any, path: str, title: str) -> None:
    """Writes a figure as PNG or SVG, completely or not at all.

    Args:
      figure: From `new_figure`.
      path: The .png or .svg file.
      title: Is stored in the file, for readers who cannot see the picture.

    Raises:
      InputError: As in `check_path`.
    """
    check_path(path)
    matplotlib = require("matplotlib", "plot")
    kind = os.path.splitext(path)[1].lower()[1:]
    about: Dict[str, Any] = {"Title": title}
    if kind == "svg":
        about["Date"] = None
    with replacing(path) as temporary, matplotlib.rc_context(_SETTINGS):
        figure.savefig(
            temporary, format=kind, dpi=_DOTS_PER_INCH, metadata=about, facecolor="white"
        )

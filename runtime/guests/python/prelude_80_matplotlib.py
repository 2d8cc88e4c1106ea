"""matplotlib, ready to draw: its data folder, its fonts in memory, figures as PNG.

The data folder is mounted at `/usr/local/lib/mpl-data`. Fonts are read into memory, because an image may not hold an
open file.
"""

MPL_DATA = "/usr/local/lib/mpl-data"
os.environ["MPLCONFIGDIR"] = "/tmp/.matplotlib"
os.environ["MPLBACKEND"] = "agg"

# matplotlib looks for its data beside its own `__file__`, which is inside the zip; it is told another place.
_spec = importlib.util.find_spec("matplotlib")
_spec.origin = os.path.join(os.path.dirname(MPL_DATA), "__init__.py")
_modules["matplotlib"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_modules["matplotlib"])

import matplotlib.font_manager
import matplotlib.ft2font


class _Font(_BytesIO):
    """A font file's content under its name."""

    def __init__(self, path):
        with open(path, "rb") as file:
            super().__init__(file.read())
        self.name = str(path)


class _FontsInMemory:
    """What `font_manager` sees of `ft2font`: the same, but fonts named by a path are read whole and closed."""

    def __getattr__(self, name):
        return getattr(matplotlib.ft2font, name)

    @staticmethod
    def FT2Font(file, *args, **kwargs):
        return matplotlib.ft2font.FT2Font(_Font(file) if isinstance(file, (str, os.PathLike)) else file, *args, **kwargs)


matplotlib.font_manager.ft2font = _FontsInMemory()

import matplotlib.pyplot
import matplotlib.text
from matplotlib._pylab_helpers import Gcf as _Gcf
from matplotlib.artist import Artist as _Artist
from matplotlib.figure import Figure as _Figure
from matplotlib.backends.backend_agg import FigureCanvasAgg as _Agg
from matplotlib.backend_bases import FigureManagerBase as _Manager

_get_font = matplotlib.font_manager.get_font
_measured = {}


class _Tables:
    """A font as text layout asks for it: its tables are read once, not hundreds of times for each drawing."""

    def __init__(self, font):
        self._font, self._read = font, {}

    def get_sfnt_table(self, name):
        if name not in self._read:
            self._read[name] = self._font.get_sfnt_table(name)
        return self._read[name]

    def __getattr__(self, name):
        return getattr(self._font, name)


def _font_of(paths):
    key = paths if isinstance(paths, str) else tuple(paths)
    font = _measured.get(key)
    if font is None:
        font = _measured[key] = _Tables(_get_font(paths))
    return font


matplotlib.text.get_font = _font_of

_FIGURES = _Gcf.figs
_Manager.pyplot_show = classmethod(lambda cls, *, block=None: show_figures())
_Manager.show = lambda self: show_figure(self)


def show_figure(manager):
    """`figure.show()`."""
    show(manager.canvas.figure)


def _png(figure):
    """The figure as PNG, cut to what is drawn: what `savefig` with a tight box makes, in one drawing instead of three.

    None where that would not be the same: something reaches over the figure's edge, or the user has other settings.
    """
    canvas = figure.canvas
    params = matplotlib.rcParams
    pad = params["savefig.pad_inches"]
    if type(canvas) is not _Agg or params["savefig.transparent"] or pad == "layout":
        return None
    if params["savefig.facecolor"] != "auto" or params["savefig.dpi"] != "figure":
        return None
    if not is_drawn(figure):
        canvas.draw()
    pixels = numpy.asarray(canvas.buffer_rgba())
    height, width = pixels.shape[:2]
    box = steady(figure.get_tightbbox, canvas.get_renderer())
    dpi = figure.dpi
    if min(box.x0, box.y0) * dpi < -1 or box.x1 * dpi > width + 1 or box.y1 * dpi > height + 1:
        return None
    left, right = max(0, int((box.x0 - pad) * dpi)), min(width, math.ceil((box.x1 + pad) * dpi))
    top, bottom = max(0, int(height - (box.y1 + pad) * dpi)), min(height, math.ceil(height - (box.y0 - pad) * dpi))
    if right <= left or bottom <= top:
        return None
    return _png_of(pixels[top:bottom, left:right], dpi)


del os.environ["MPLBACKEND"], os.environ["MPLCONFIGDIR"]

"""Saving a figure: one drawing instead of two or three, and PNG without trying every filter on every line.

The pixels are matplotlib's own. Only its own canvas is handled: a subclass takes the ordinary path.
"""

import zlib

import matplotlib.cbook

_rc = matplotlib.rcParams


def _may_keep(options):
    """Whether `savefig` with these options draws the figure as it is shown."""
    return (
        options.keys() <= {"format", "metadata", "pil_kwargs"}
        and not _rc["savefig.transparent"]
        and _rc["savefig.bbox"] is None
        and _rc["savefig.facecolor"] == _rc["savefig.edgecolor"] == "auto"
    )


@functools.wraps(_Figure.savefig)
def _savefig(self, fname, *args, _plain=_Figure.savefig, **options):
    canvas = self.canvas
    canvas._picture = None
    _plain(self, fname, *args, **options)
    if canvas._picture is not None and canvas._picture == _picture_of(self) and not args and _may_keep(options):
        # Only what was set for the saving was put back since the figure was drawn.
        self.stale = False


@functools.wraps(matplotlib.pyplot.savefig)
def _savefig_current(*args, **options):
    figure = matplotlib.pyplot.gcf()
    answer = figure.savefig(*args, **options)
    canvas = figure.canvas
    if type(canvas) is _Agg:
        # Nobody watches the canvas: it is drawn anew when somebody asks for its pixels.
        canvas._overdue = figure.stale
    else:
        canvas.draw_idle()
    return answer


_Figure.savefig = _savefig
matplotlib.pyplot.savefig = _savefig_current


def _picture_of(figure):
    return figure.canvas.get_width_height(physical=True), figure.dpi, figure.get_facecolor(), figure.get_edgecolor()


def is_drawn(figure):
    """Whether the canvas has the figure as it is."""
    canvas = figure.canvas
    return (
        type(canvas) is _Agg
        and not (figure.stale or canvas._overdue)
        and canvas._picture is not None
        and canvas._picture == _picture_of(figure)
        and not any(True in axes._stale_viewlims.values() for axes in figure.axes)
    )


def _current(name, method):
    @functools.wraps(method)
    def current(self, *args, **kwargs):
        if self._overdue:
            self.draw()
        return method(self, *args, **kwargs)

    setattr(_Agg, name, current)


_Agg._overdue = False
_Agg._picture = None
matplotlib.backend_bases.FigureCanvasBase._picture = None
for _name in ("copy_from_bbox", "restore_region", "get_renderer", "tostring_argb", "buffer_rgba"):
    _current(_name, getattr(_Agg, _name))


@functools.wraps(_Agg.draw)
def _draw(self, _plain=_Agg.draw):
    self._overdue = False
    self._picture = None
    _plain(self)
    self._picture = _picture_of(self.figure)


_Agg.draw = _draw


def _chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(data, zlib.crc32(kind)).to_bytes(4, "big")


def _png_of(pixels, dpi, software=None):
    """A PNG file of pixels in RGB or RGBA."""
    height, width, depth = pixels.shape
    lines = numpy.zeros((height, 1 + width * depth), numpy.uint8)
    lines[:, 1:].reshape(height, width, depth)[:] = pixels
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 6 if depth == 4 else 2, 0, 0, 0))
    per_metre = int(dpi / 0.0254 + 0.5).to_bytes(4, "big")
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", head)]
    if software:
        parts.append(_chunk(b"tEXt", b"Software\0" + software.encode("latin-1")))
    parts.append(_chunk(b"pHYs", per_metre + per_metre + b"\1"))
    parts.append(_chunk(b"IDAT", zlib.compress(lines, 3)))
    parts.append(_chunk(b"IEND", b""))
    return b"".join(parts)


_SOFTWARE = f"Matplotlib version{matplotlib.__version__}, https://matplotlib.org/"


@functools.wraps(_Agg.print_png)
def _print_png(self, filename_or_obj, *, metadata=None, pil_kwargs=None, _plain=_Agg.print_png):
    if metadata or pil_kwargs or type(self) is not _Agg:
        return _plain(self, filename_or_obj, metadata=metadata, pil_kwargs=pil_kwargs)
    _Agg.draw(self)
    data = _png_of(numpy.asarray(self.buffer_rgba()), self.figure.dpi, _SOFTWARE)
    with matplotlib.cbook.open_file_cm(filename_or_obj, "wb") as file:
        file.write(data)


_Agg.print_png = _print_png

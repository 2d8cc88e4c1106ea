"""Values as MIME bundles: `display`, the last expression, tables, figures.

It never lets a value's own `_repr_*_` method end a turn: what cannot be shown richly is shown as text.
"""

import base64
import datetime
import decimal
import math

TABLE_ROWS = 1000
TABLE_CELLS = 100_000
_svg = False

_b64 = base64.b64encode
_METHODS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_pdf_", "application/pdf"),
    ("_repr_latex_", "text/latex"),
    ("_repr_json_", "application/json"),
    ("_repr_javascript_", "application/javascript"),
)
# Their text says it all, and looking for methods on them costs more than showing them.
_PLAIN_TYPES = frozenset(
    (int, str, float, bool, complex, bytes, bytearray, list, tuple, dict, set, frozenset, range, type, type(None))
)
# Matplotlib's own, once it is there.
_FIGURES = {}
_Figure = _Artist = ()


def text_of(value):
    try:
        return clip(repr(value), TEXT_CAP)
    except Exception as error:
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"


def plain(value, depth=0):
    """The value in JSON's terms: no NaN, no infinity, dates in ISO 8601, anything else as text."""
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is str:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat() if value == value else None
    if depth > 16:
        return clip(str(value), MESSAGE_CAP)
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, (bool, int, str)):
        return kind.__mro__[-2](value) if kind.__mro__[-2] in (int, str) else str(value)
    if isinstance(value, decimal.Decimal):
        return str(value)
    numpy = _modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        item = value.tolist()
        return plain(item, depth + 1) if not isinstance(item, (numpy.generic, numpy.ndarray)) else str(value)
    pandas = _modules.get("pandas")
    if pandas is not None and (value is pandas.NaT or value is pandas.NA):
        return None
    return clip(str(value), MESSAGE_CAP)


def _column(series):
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iub":
        return plain(series.tolist()) if series.hasnans else series.tolist()
    if kind == "M":
        return [None if item != item else item.isoformat() for item in series]
    return [plain(item) for item in series.tolist()]


def _table(frame):
    """A data frame as a dict of column name to list of values, cut to a size that a reader can take."""
    rows, columns = frame.shape
    shown = min(rows, TABLE_ROWS, max(1, TABLE_CELLS // max(1, columns)))
    head = frame.iloc[:shown, :TABLE_CELLS]
    data = {}
    for at, name in enumerate(head.columns):
        key = name if type(name) is str else ".".join(map(str, name)) if isinstance(name, tuple) else str(name)
        while key in data:
            key += "_"
        data[key] = _column(head.iloc[:, at])
    return data, {"rows": rows, "columns": columns, "shown_rows": shown}


def bundle_of(value):
    """Every form that the value has, by MIME type; `text/plain` always."""
    kind = type(value)
    data = {"text/plain": text_of(value)}
    figure = figure_of(value)
    if figure is not None:
        data.update(render(figure))
        return data
    if kind in _PLAIN_TYPES or isinstance(value, type):
        return data
    pandas = _modules.get("pandas")
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        frame = value.to_frame() if isinstance(value, pandas.Series) else value
        try:
            html = frame._repr_html_()
            if html:
                data["text/html"] = html
            data["application/json"], size = _table(frame)
            data["application/vnd.cofferdam.table+json"] = _encode(size)
        except Exception:
            pass
        return data
    method = getattr(kind, "_repr_mimebundle_", None)
    if method is not None:
        try:
            found = method(value)
            found = found[0] if isinstance(found, tuple) else found
            for mime, item in (found or {}).items():
                _add(data, str(mime), item)
        except Exception:
            pass
    for name, mime in _METHODS:
        method = getattr(kind, name, None)
        if method is None or mime in data:
            continue
        if mime == "image/jpeg" and "image/png" in data:
            continue
        try:
            _add(data, mime, method(value))
        except Exception:
            pass
    return data


def _add(data, mime, item):
    if isinstance(item, tuple) and mime != "application/json":
        item = item[0] if item else None
    if item is None:
        return
    if mime == "application/json" or mime.endswith("+json") and not isinstance(item, str):
        item = plain(item)
        data[mime] = item if mime == "application/json" else _encode(item)
    elif isinstance(item, (bytes, bytearray)):
        data[mime] = _b64(item).decode("ascii")
    else:
        data[mime] = str(item)


def show(value, main=False):
    data = bundle_of(value)
    if not send({"op": "result", "main": main, "data": data}):
        sys.stderr.write("[a result is not shown: the host refused it; is it too large?]\n")
    figure = figure_of(value) if _FIGURES else None
    if figure is not None:
        close(figure)


def display(*values, **options):
    """Shows each value in its richest form, in order. Options of IPython's `display` are accepted and ignored."""
    raw = options.get("raw", False)
    for value in values:
        if raw and isinstance(value, dict):
            data = {"text/plain": ""}
            for mime, item in value.items():
                _add(data, str(mime), item)
            send({"op": "result", "main": False, "data": data})
        else:
            show(value)


display.__module__ = "builtins"
builtins.display = display


def figure_of(value, depth=0):
    """The matplotlib figure that a value is; or that it belongs to or contains, if that figure is open; or None."""
    if isinstance(value, _Figure):
        return value
    if not _FIGURES:
        return None
    if isinstance(value, _Artist):
        figure = value.get_figure(root=True)
        return figure if any(manager.canvas.figure is figure for manager in _FIGURES.values()) else None
    if depth < 2 and (isinstance(value, (list, tuple)) or type(value).__name__ == "ndarray" and value.dtype == object):
        for item in list(value)[:8]:
            figure = figure_of(item, depth + 1)
            if figure is not None:
                return figure
    return None


def render(figure):
    data = {"image/png": _b64(_png(figure) or _saved(figure, "png")).decode("ascii")}
    if _svg:
        data["image/svg+xml"] = _saved(figure, "svg").decode("utf-8")
    return data


def _saved(figure, form):
    buffer = _BytesIO()
    figure.savefig(buffer, format=form, bbox_inches="tight", dpi="figure")
    return buffer.getvalue()


def close(figure):
    for number, manager in list(_FIGURES.items()):
        if manager.canvas.figure is figure:
            _Gcf.destroy(number)


def show_figures(*args, **kwargs):
    """Emits every open figure and closes it: `plt.show()`, and the end of a turn."""
    for number, manager in list(_FIGURES.items()):
        show(manager.canvas.figure)
        if number in _FIGURES:
            _Gcf.destroy(number)

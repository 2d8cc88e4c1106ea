"""Ticks, markers and parameters of matplotlib's: most of a drawing here would go into making the same ones again.

The pixels are matplotlib's own. Only its own classes are handled: a subclass takes the ordinary path.
"""

import matplotlib.axis
import matplotlib.markers


def _rc_item(self, key, _slow=matplotlib.RcParams.__getitem__, _fast=dict.__getitem__):
    return _slow(self, key) if key == "backend" else _fast(self, key)


def _value_or_rc(value, *names):
    if value is not None:
        return value
    for name in names:
        value = _rc[name]
        if value is not None:
            break
    return value


matplotlib.RcParams.__getitem__ = _rc_item
matplotlib._val_or_rc = _value_or_rc


def _pchanged(self):
    if self._callbacks.callbacks:
        self._callbacks.process("pchanged")


_Artist.pchanged = _pchanged

# Markers: a copy shares what nobody changes, instead of copying it deeply.
_Marker = matplotlib.markers.MarkerStyle
_marker_states = {}


def _set_marker(self, marker, _plain=_Marker._set_marker):
    kind = type(marker)
    if type(self) is not _Marker:
        return _plain(self, marker)
    if kind is _Marker:
        state = marker.__dict__.copy()
        if state["_user_transform"] is not None:
            state["_user_transform"] = copy.deepcopy(state["_user_transform"])
    elif (kind is str or kind is int) and not (kind is str and "$" in marker):
        key = (marker, self._fillstyle, self._user_capstyle, self._user_joinstyle)
        known = _marker_states.get(key)
        if known is None or self._user_transform is not None:
            _plain(self, marker)
            if self._user_transform is None:
                _marker_states[key] = self.__dict__.copy()
            return
        state = known.copy()
    else:
        return _plain(self, marker)
    if state["_marker_function"] is not None:
        state["_marker_function"] = getattr(self, state["_marker_function"].__name__)
    self.__dict__ = state


_Marker._set_marker = _set_marker

# Ticks: while nothing changes, where they are is found out once, not nine times a drawing.
_Axis = matplotlib.axis.Axis
_AXES = {matplotlib.axis.XAxis: matplotlib.axis.XTick, matplotlib.axis.YAxis: matplotlib.axis.YTick}
_STEADY = frozenset(("matplotlib.ticker", "matplotlib.dates", "matplotlib.category"))
_FuncFormatter = matplotlib.ticker.FuncFormatter
_ticks = None


def _is_steady(ticker):
    formatter = type(ticker.formatter)
    return formatter.__module__ in _STEADY and formatter is not _FuncFormatter and type(ticker.locator).__module__ in _STEADY


def _update_ticks(self, _plain=_Axis._update_ticks):
    if _ticks is None or type(self) not in _AXES or not (_is_steady(self.major) and _is_steady(self.minor)):
        return _plain(self)
    low, high = self.get_view_interval()
    known = _ticks.get(self)
    if known is None or known[0] != low or known[1] != high:
        known = _ticks[self] = (low, high, _plain(self))
    return known[2].copy()


def steady(work, *args):
    """Does work during which nothing of a figure changes."""
    global _ticks
    outer, _ticks = _ticks, {}
    try:
        return work(*args)
    finally:
        _ticks = outer


_AxesBase = matplotlib.axes._base._AxesBase


@functools.wraps(_AxesBase.draw)
def _draw_axes(self, renderer, _plain=_AxesBase.draw):
    return steady(_plain, self, renderer)


_Axis._update_ticks = _update_ticks
_AxesBase.draw = _draw_axes

# An axis makes the first tick of each kind, and the others as its twins.
_SIMPLE = frozenset((str, int, float, bool, tuple, type(None)))
_Registry = matplotlib.cbook.CallbackRegistry


def _twin(artist):
    twin = object.__new__(type(artist))
    twin.__dict__.update(artist.__dict__)
    twin._callbacks = _Registry(signals=["pchanged"])
    return twin


def _twin_tick(tick):
    twin = _twin(tick)
    for name in ("tick1line", "tick2line", "gridline", "label1", "label2"):
        setattr(twin, name, _twin(getattr(tick, name)))
    for label in (twin.label1, twin.label2):
        label._fontproperties = label._fontproperties.copy()
    return twin


def _get_tick(self, major, _plain=_Axis._get_tick):
    if _AXES.get(type(self)) is not self._tick_class:
        return _plain(self, major)
    options = self._major_tick_kw if major else self._minor_tick_kw
    axes = self.axes
    place = (axes, axes.get_figure(root=False), *[spine._position for spine in axes.spines.values()])
    patterns = self.__dict__.setdefault("_patterns", {})
    known = patterns.get(major)
    if (
        known is not None
        and known[0] == place
        and known[1] == options
        and all(map(operator.is_, known[2], dict.values(_rc)))
    ):
        return _twin_tick(known[3])
    tick = _plain(self, major)
    if _SIMPLE.issuperset(map(type, options.values())):
        patterns[major] = (place, options.copy(), list(dict.values(_rc)), _twin_tick(tick))
    return tick


def _axis_state(self, _plain=_Axis.__getstate__):
    state = _plain(self)
    state.pop("_patterns", None)
    return state


_Axis._get_tick = _get_tick
_Axis.__getstate__ = _axis_state


def _file_under_matplotlib():
    """matplotlib names the user's line in its warnings: the first that is in no file of its own."""
    names = {function.__code__.co_filename for function in (show, _png, _draw, _get_layout, _get_tick)}
    for holder in (globals(), vars(_Agg), vars(_Manager), vars(_FontProperties)):
        for value in holder.values():
            function = getattr(value, "__func__", value)
            if type(function) is types.FunctionType and function.__code__.co_filename in names:
                name = _Artist.__init__.__code__.co_filename.rpartition("/")[0] + "/_cofferdam.py"
                function.__code__ = function.__code__.replace(co_filename=name)


_file_under_matplotlib()

"""Fonts and texts of matplotlib's: what was found and laid out once is kept, under everything that it depends on.

It never keeps what user code may have given: a subclass, or properties of another kind, takes the ordinary path.
"""

from matplotlib.backends import backend_agg as _backend_agg
from matplotlib.font_manager import FontManager as _FontManager
from matplotlib.font_manager import FontProperties as _FontProperties

_rc_value = functools.partial(dict.__getitem__, _rc)
_Renderer = _backend_agg.RendererAgg
_KEPT_LAYOUTS = 2048

# Fonts: what was found for some properties is kept until a parameter changes that the finding looks at.
_FONT_PARAMETERS = tuple(name for name in dict.keys(_rc) if name.startswith(("font.", "text.", "mathtext.")))
_font_state = None
_found, _fonts, _layouts, _defaults = {}, {}, {}, {}


def _look_at_parameters():
    global _font_state
    if list(map(_rc_value, _FONT_PARAMETERS)) != _font_state:
        _font_state = [value[:] if type(value) is list else value for value in map(_rc_value, _FONT_PARAMETERS)]
        _forget_fonts()


def _forget_fonts():
    for kept in (_found, _fonts, _layouts, _defaults):
        kept.clear()


@functools.wraps(_FontManager.addfont)
def _addfont(self, path, _plain=_FontManager.addfont):
    _forget_fonts()
    return _plain(self, path)


_FontManager.addfont = _addfont


@functools.wraps(_FontManager._find_fonts_by_props)
def _find_fonts(self, prop, *args, _plain=_FontManager._find_fonts_by_props, **kwargs):
    if args or kwargs or type(prop) is not _FontProperties or self is not matplotlib.font_manager.fontManager:
        return _plain(self, prop, *args, **kwargs)
    _look_at_parameters()
    key = tuple(prop.__dict__.values())
    paths = _found.get(key)
    if paths is None:
        paths = _plain(self, prop)
        # A family that is not found is said so each time.
        if len(paths) == len(prop.get_family()):
            _found[key] = tuple(paths)
        return paths
    return list(paths)


_FontManager._find_fonts_by_props = _find_fonts


def _any_properties(cls, arg, _plain=_FontProperties._from_any.__func__):
    if arg is not None or cls is not _FontProperties:
        return _plain(cls, arg)
    _look_at_parameters()
    if not _defaults:
        _defaults.update(cls().__dict__)
    new = cls.__new__(cls)
    new.__dict__.update(_defaults)
    return new


_FontProperties._from_any = classmethod(_any_properties)


def _prepare_font(self, prop):
    _look_at_parameters()
    paths = tuple(_backend_agg._fontManager._find_fonts_by_props(prop))
    font = _fonts.get(paths)
    if font is None:
        font = _fonts[paths] = _get_font(list(paths))
    else:
        font._set_transform([[0x10000, 0], [0, 0x10000]], [0, 0])
    font.clear()
    font.set_size(prop.get_size_in_points(), self.dpi)
    return font


_Renderer._prepare_font = _prepare_font

# Text: where its lines are, relative to its position.
_Text = matplotlib.text.Text


def _get_layout(self, renderer, _plain=_Text._get_layout):
    properties = self._fontproperties
    if (
        type(renderer) is not _Renderer
        or type(properties) is not _FontProperties
        or self._usetex
        or self._wrap
        or self._transform_rotates_text
        or type(self._text) is not str
    ):
        return _plain(self, renderer)
    _look_at_parameters()
    key = (
        self._text,
        tuple(properties.__dict__.values()),
        self.get_figure(root=True).dpi,
        renderer.dpi,
        self._rotation,
        self._linespacing,
        self._horizontalalignment,
        self._verticalalignment,
        self._multialignment,
        self._rotation_mode,
        self._parse_math,
    )
    known = _layouts.get(key)
    if known is None:
        box, lines, corner = _plain(self, renderer)
        if len(_layouts) >= _KEPT_LAYOUTS:
            _layouts.clear()
        _layouts[key] = (box.get_points().copy(), tuple(lines), corner)
        return box, lines, corner
    points, lines, corner = known
    return _Bbox(points.copy()), list(lines), corner


_Bbox = matplotlib.transforms.Bbox
_Text._get_layout = _get_layout


def _draw_glyphs(self, gc, x, y, angle, glyphs, boxes, _plain=_Renderer._draw_text_glyphs_and_boxes):
    """Upright text, which needs no matrices."""
    if angle or not gc.get_antialiased() or type(self) is not _Renderer:
        return _plain(self, gc, x, y, angle, glyphs, boxes)
    flags, normal, height = _backend_agg.get_hinting_flag(), _backend_agg.RenderMode.NORMAL, self.height
    draw, dpi = self._renderer.draw_text_image, self.dpi
    for glyph in glyphs:
        font, size, index, slant, extend, dx, dy = glyph
        if slant or extend != 1:
            _plain(self, gc, x, y, angle, (glyph,), ())
            continue
        font.set_size(size, dpi)
        font._set_transform([[0x10000, 0], [0, 0x10000]], [round(0x40 * (x + dx)), round(0x40 * (height - y + dy))])
        bitmap = font._render_glyph(index, flags, normal)
        pixels = bitmap.buffer
        draw(pixels, bitmap.left, int(height) - bitmap.top + pixels.shape[0], 0, gc)
    boxes = list(boxes)
    if boxes:
        _plain(self, gc, x, y, angle, (), boxes)


_Renderer._draw_text_glyphs_and_boxes = _draw_glyphs

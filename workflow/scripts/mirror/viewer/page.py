"""The viewer's page: Bokeh draws the tiles, and the layers over them. Everything is in the page; no network is used."""

from __future__ import annotations

from html import escape
from typing import Any

from bokeh.embed import file_html
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    HoverTool,
    LinearColorMapper,
    Range1d,
    WMTSTileSource,
)
from bokeh.models.annotations import Metric, ScaleBar
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.widgets import Div, Select, Slider
from bokeh.palettes import Category20, Viridis256
from bokeh.plotting import figure
from bokeh.resources import INLINE
from bokeh.transform import transform

from .layers import Layers
from .pyramid import TILE, Pyramid

OTHER = "#bbbbbb"


def slide_page(title: str, pyramid: Pyramid, layers: list[Layers], tiles: str, mpp: float | None = None) -> str:
    """The page of one slide.

    Parameters
    ----------
    title : str
    pyramid : Pyramid
        Gives the sizes; the page asks ``tiles`` for the pixels.
    layers : list of Layers
        One per variant that was interpreted; may be empty.
    tiles : str
        Address of a tile, with ``{Z}``, ``{X}`` and ``{Y}``.
    mpp : float, optional
        Micrometres per level-0 pixel; with it, a scale bar is drawn.

    Returns
    -------
    str
        HTML with the library inside.
    """
    unit = mpp or 1.0  # the page's coordinates are micrometres where they are known, else pixels
    side = (TILE << pyramid.last) * unit  # the square of all tiles; the page's y axis points up
    source = WMTSTileSource(
        url=tiles,
        min_zoom=0,
        max_zoom=pyramid.last,
        tile_size=TILE,
        initial_resolution=unit * (1 << pyramid.last),
        x_origin_offset=0.0,
        y_origin_offset=0.0,
        wrap_around=False,
        snap_to_zoom=False,
        attribution="",
    )
    largest = max(pyramid.width, pyramid.height) * unit
    plot = figure(
        x_range=Range1d(start=-0.02 * largest, end=1.02 * largest),
        y_range=Range1d(start=side - 1.02 * largest, end=side + 0.02 * largest),
        match_aspect=True,
        sizing_mode="stretch_both",
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_scroll="wheel_zoom",
        toolbar_location="above",
        output_backend="webgl",
        background_fill_color="white",
    )
    plot.axis.visible = False
    plot.grid.visible = False
    plot.add_tile(source, level="underlay", smoothing=True)
    if mpp:
        plot.add_layout(ScaleBar(range=plot.x_range, unit="\u00b5m", dimensional=Metric(base_unit="m")))
    known = f", {mpp:.3g} \u00b5m per pixel" if mpp else ", resolution not known"
    controls: list = [Div(text=f"<b>{escape(title)}</b><br>{pyramid.width} x {pyramid.height} pixels{known}")]
    drawn = []
    for layer in layers:
        drawn += _draw(plot, layer, side, unit)
    if drawn:
        controls += [Div(text=_legend(layers))]
        controls += _controls([name for name, _ in drawn], [glyph for _, glyph in drawn])
        plot.add_tools(
            HoverTool(
                renderers=[glyph for _, glyph in drawn],
                tooltips=[("attention (percentile)", "@attention{0.0}"), ("prototype", "@prototype")],
            )
        )
    else:
        why = "No layers: this slide was not interpreted (`interpretation` in the configuration says which are)."
        controls.append(Div(text=why))
    page = row(plot, column(*controls, width=320), sizing_mode="stretch_both", styles={"height": "96vh"})
    return file_html(page, INLINE, title)


def _colours(layer: Layers) -> dict[str, str]:
    """A colour for each prototype of a layer."""
    names = sorted(set(layer.prototype) - {"other"})
    return dict(zip(names, Category20[20] * (len(names) // 20 + 1), strict=False))


def _legend(layers: list[Layers]) -> str:
    """What the colours mean, as HTML."""
    strip = ",".join(Viridis256[::32])
    text = (
        "Attention, percentile of the tiles of this slide: 0 "
        f"<span style='display:inline-block;width:90px;height:10px;background:linear-gradient(90deg,{strip})'></span>"
        " 100"
    )
    for layer in layers:
        marks = [*_colours(layer).items(), ("other", OTHER)]
        boxes = " ".join(
            f"<span style='display:inline-block;width:10px;height:10px;background:{colour}'></span> {escape(name)}"
            for name, colour in marks
        )
        text += f"<br>Prototypes, {escape(layer.name)}: {boxes}"
    return text


def _draw(plot: figure, layer: Layers, side: float, unit: float) -> list[tuple[str, GlyphRenderer]]:
    """Draw one variant's attention and prototypes, hidden; return the layers' names and glyphs."""
    colours = _colours(layer)
    left, top, size = layer.left * unit, layer.top * unit, layer.size * unit
    data = ColumnDataSource(
        {
            "left": left,
            "right": left + size,
            "top": side - top,
            "bottom": side - top - size,
            "attention": layer.attention,
            "prototype": layer.prototype,
            "colour": [colours.get(name, OTHER) for name in layer.prototype],
        }
    )
    place: dict[str, Any] = {"left": "left", "right": "right", "top": "top", "bottom": "bottom", "source": data}
    look: dict[str, Any] = {"line_color": None, "fill_alpha": 0.45, "visible": False}
    mapper = LinearColorMapper(palette=Viridis256, low=0, high=100)
    return [
        (f"attention, {layer.name}", plot.quad(**place, fill_color=transform("attention", mapper), **look)),
        (f"prototypes, {layer.name}", plot.quad(**place, fill_color="colour", **look)),
    ]


def _controls(names: list[str], glyphs: list) -> list:
    """A choice of the layer and a slider of its opacity."""
    options: list[Any] = ["none", *names]
    choice = Select(title="Layer", value="none", options=options, name="layer")
    opacity = Slider(title="Opacity of the layer", start=0, end=1, step=0.05, value=0.45, name="opacity")
    for name, glyph in zip(names, glyphs, strict=True):
        choice.js_on_change("value", CustomJS(args={"g": glyph, "n": name}, code="g.visible = cb_obj.value === n;"))
        opacity.js_on_change("value", CustomJS(args={"g": glyph}, code="g.glyph.fill_alpha = cb_obj.value;"))
    return [choice, opacity]

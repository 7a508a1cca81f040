"""Pictures of the products, drawn from their names: the thing gives the shape, the adjective palette and pattern."""

import zlib
from configparser import ConfigParser
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import NamedTuple

_SHAPES = Path(__file__).with_name("shapes.ini")


class Finish(NamedTuple):
    """How an adjective looks: the colours of the field, the body, its pattern, the accent and the outline."""

    field: str
    body: str
    ink: str
    accent: str
    dark: str
    pattern: str


def _stroked(path: str, width: float = 2) -> str:
    return f'<path fill="none" stroke="{{ink}}" stroke-width="{width}" d="{path}"/>'


# The marks on a tile of 24 by 24; {ink} and {accent} are the finish's.
_SPECKS = (
    '<circle cx="5" cy="7" r="1.2" fill="{ink}"/><circle cx="17" cy="16" r="1" fill="{ink}"/>'
    '<circle cx="11" cy="21" r=".8" fill="{ink}"/>'
)
_DIAMONDS = _stroked("M12 1L23 12 12 23 1 12z", 1.4)
_GLAZE = '<rect y="12" width="24" height="12" fill="{ink}" opacity=".55"/>'
_GRAIN = _stroked("M0 5c8-4 16 4 24 0M0 13c8 3 16-3 24 0M0 20c8-2 16 2 24 0", 1.5)
_SHEEN = _stroked("M4 0v24M9 0v24", 3)
_THREADS = _stroked("M0 3h24M0 9h24M0 15h24M0 21h24M3 0v24M9 0v24M15 0v24M21 0v24", 1)
_STRIPES = '<rect width="12" height="24" fill="{ink}"/>'
_DOTS = '<g fill="{ink}"><circle cx="6" cy="6" r="4"/><circle cx="18" cy="18" r="4"/></g>'
_FLOWERS = (
    '<g fill="{ink}"><circle cx="12" cy="7" r="4"/><circle cx="17" cy="11" r="4"/><circle cx="15" cy="17" r="4"/>'
    '<circle cx="9" cy="17" r="4"/><circle cx="7" cy="11" r="4"/></g><circle cx="12" cy="12" r="3" fill="{accent}"/>'
)
_GLINTS = _stroked("M-2 26L26-2M-8 20L20-8M4 32L32 4", 3)
_WEAVE = (
    '<g fill="{ink}"><rect x="1" y="1" width="10" height="5" rx="2"/><rect x="13" y="13" width="10" height="5" rx="2"/>'
    '<rect x="16" width="4" height="11" rx="2"/><rect x="4" y="12" width="4" height="11" rx="2"/></g>'
)
_BRUSH = _stroked("M2 6c6-4 10 2 18-1M4 15c6-3 8 2 17 0", 5)
_WALLPAPER = '<rect width="8" height="24" fill="{ink}"/><rect x="11" width="2" height="24" fill="{accent}"/>'
_RINGS = (
    '<circle cx="12" cy="12" r="10" fill="{ink}"/><circle cx="12" cy="12" r="6" fill="{accent}"/>'
    '<circle cx="12" cy="12" r="2.5" fill="#fff4dc"/>'
)
_CHINA = _stroked("M12 4c6 4 6 12 0 16-6-4-6-12 0-16M2 12c3-3 5-3 7 0M22 12c-3-3-5-3-7 0", 1.6)
_HEARTS = '<path fill="{ink}" d="M12 9c3-6 12-2 7 4l-7 8-7-8c-5-6 4-10 7-4z"/>'
_POLISH = '<rect width="24" height="24" fill="{ink}" opacity=".35"/><path d="M0 24L24 0v8L8 24z" fill="#fffaf0"/>'
_ROSES = _stroked("M12 12c0-3 4-3 4 0 0 5-8 5-8 0 0-7 12-7 12 1", 1.8)
_SPRIGS = _stroked("M12 22V4M12 10c-5 0-6-3-6-5M12 15c5 0 6-3 6-5", 1.6)
_CLOUDS = '<path fill="{ink}" d="M5 15c-4 0-3-6 1-5 1-5 8-5 9 0 5-1 5 5 1 5z"/>'
_STRANDS = _stroked("M6 0c3 8-3 16 0 24M18 0c3 8-3 16 0 24M6 8l5 4M6 18l-4 3M18 6l-5 4M18 16l4 4", 1.8)
_STARS = '<path fill="{ink}" d="M12 3l3 6 6 1-5 5 1 6-5-3-5 3 1-6-5-5 6-1z"/>'
_CANES = _stroked("M0 0v24M12 0v24M0 7h12M12 17h12")
_BORDER = (
    _stroked("M0 8l6-6 6 6 6-6 6 6", 2.4) + '<circle cx="12" cy="17" r="4" fill="{accent}"/>'
    '<circle cy="17" r="2" fill="{ink}"/><circle cx="24" cy="17" r="2" fill="{ink}"/>'
)
_DROPS = '<path fill="{ink}" d="M14 3c8 4 7 18-3 18-8 0-8-10-1-10 5 0 6 5 2 6 6 0 6-9 2-14z"/>'
_VEINS = _stroked("M0 18c6-2 6-10 12-10s6-6 12-8M8 24c2-5 8-4 16-8", 1.3)
_LAYERS = _stroked("M0 4h14M8 11h16M0 18h10M16 21h8", 1.4)
_BIRDS = (
    '<path fill="{ink}" d="M2 8c6-2 8 2 10 4 3-4 7-4 10-2-4 1-5 9-11 9-4 0-5-4-9-4 3-1 2-5 0-7z"/>'
    '<circle cx="12" cy="16" r="2" fill="{accent}"/>'
)
_WHEAT = (
    '<path fill="{ink}" d="M12 2c3 3 3 5 0 8-3-3-3-5 0-8zM5 8c4 0 5 2 6 6-4 0-6-2-6-6zM19 8c-4 0-5 2-6 6 4 0 6-2 6-6z'
    'M11 14h2v9h-2z"/>'
)
_WAVES = _stroked("M0 6c4-5 8-5 12 0s8 5 12 0M0 18c4-5 8-5 12 0s8 5 12 0", 2.4)

FINISHES = {
    "Enamel": Finish("#e4edf5", "#fdfdfb", "#2c4f7c", "#2f6db5", "#1f3350", _SPECKS),
    "Vintage": Finish("#efe4d0", "#d9bf94", "#a8834f", "#8f5a3c", "#4f3622", _DIAMONDS),
    "Ceramic": Finish("#e9e6df", "#c9d5cf", "#8fa9a0", "#d98f5c", "#37504a", _GLAZE),
    "Oak": Finish("#f0e6d6", "#c99a5b", "#9f703a", "#e2c18d", "#573715", _GRAIN),
    "Copper": Finish("#f3e2d8", "#c9714a", "#e9a37e", "#8a4427", "#55260f", _SHEEN),
    "Linen": Finish("#f1ede3", "#d8cdb6", "#bcae91", "#8b9a86", "#544c3c", _THREADS),
    "Striped": Finish("#e6eef0", "#fbfaf5", "#2f6f8f", "#d9573f", "#1f3d4d", _STRIPES),
    "Spotted": Finish("#fbe6e2", "#d8483c", "#fff6ef", "#f3c13a", "#5d1a16", _DOTS),
    "Floral": Finish("#f7e9ee", "#fdf5ee", "#d65f86", "#f0b93b", "#53394a", _FLOWERS),
    "Glass": Finish("#e3f1f3", "#b7dde2", "#e8f7f8", "#5aa6b3", "#2b5a66", _GLINTS),
    "Woven": Finish("#f2e8d9", "#c69c62", "#9a6f38", "#e4c793", "#513616", _WEAVE),
    "Painted": Finish("#e8ecf7", "#5f86c7", "#86a7de", "#f2b94a", "#26406f", _BRUSH),
    "Regency": Finish("#eae6ef", "#f4efe2", "#5b4a7d", "#c9a24a", "#31274a", _WALLPAPER),
    "Retro": Finish("#f6e7cf", "#e8873a", "#f6c667", "#2f7d77", "#5b2c12", _RINGS),
    "Porcelain": Finish("#e6edf6", "#fcfdff", "#3a63b0", "#3a63b0", "#22386b", _CHINA),
    "Heart": Finish("#fbe7ea", "#fff4f2", "#dd4a63", "#dd4a63", "#6d1f30", _HEARTS),
    "Ivory": Finish("#f0ece1", "#f7f0dd", "#eadfc0", "#b79a5f", "#675a3c", _POLISH),
    "Rose": Finish("#f9e4e6", "#eea7b1", "#d3677b", "#8a9a5b", "#6d2b3d", _ROSES),
    "Sage": Finish("#e7ede3", "#a9bd9c", "#7f9a73", "#e6d9b5", "#3b4d35", _SPRIGS),
    "Sky": Finish("#e2effb", "#8cc2ee", "#f6fbff", "#f5cf5b", "#2c587f", _CLOUDS),
    "Willow": Finish("#e7efe8", "#f3f6ec", "#4d7a5c", "#b58b52", "#264434", _STRANDS),
    "Star": Finish("#e4e5f4", "#2f3b78", "#f5d565", "#f5d565", "#171d42", _STARS),
    "Bamboo": Finish("#eef1dc", "#c3c97c", "#8f9a45", "#6b8e3d", "#3f481a", _CANES),
    "Folk": Finish("#f8e6da", "#fbf3e4", "#c43f2f", "#2e6b58", "#42201a", _BORDER),
    "Paisley": Finish("#efe3ee", "#8f3f71", "#e9b6cf", "#e3a53f", "#45183a", _DROPS),
    "Marble": Finish("#e9eaec", "#f6f6f5", "#aeb4bb", "#c2a15c", "#474c54", _VEINS),
    "Slate": Finish("#e2e5e8", "#5c6770", "#76828c", "#aab5bd", "#262d33", _LAYERS),
    "Bluebird": Finish("#e3eef6", "#fbf8ef", "#3f7fc1", "#e08a4c", "#21415f", _BIRDS),
    "Harvest": Finish("#f7ebd2", "#e0a63c", "#9c5a1f", "#b8432f", "#53300d", _WHEAT),
    "Coastal": Finish("#e1f0f0", "#f4f8f5", "#2f8a94", "#e8b46a", "#1d4a55", _WAVES),
}

_STYLE = (
    "*{{stroke-linejoin:round;stroke-linecap:round}}"
    ".b,.a,.d,.l,.x,.g,.f{{stroke:{dark};stroke-width:3}}"
    ".b{{fill:url(#p)}}.a{{fill:{accent}}}.d{{fill:{dark}}}.l{{fill:#fffdf7}}.g{{fill:#6f9a57}}.f{{fill:#f6a531}}.x{{fill:#fff;fill-opacity:.5}}"
    ".o,.t,.c,.w,.q,.p{{fill:none}}.o{{stroke:{dark};stroke-width:7}}.t{{stroke:{dark};stroke-width:2.5}}"
    ".c{{stroke:{accent};stroke-width:5}}.w{{stroke:#fff;stroke-width:5;opacity:.7}}"
    ".q{{stroke:{dark};stroke-width:22}}.p{{stroke:url(#p);stroke-width:16}}"
)


@lru_cache
def shapes() -> dict[str, tuple[str, ...]]:
    """The parts of each thing's drawing, as ``shapes.ini`` beside this module tells them."""
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(_SHAPES.read_text("utf-8"))
    drawings = {thing: drawing for section in parser.sections() for thing, drawing in parser[section].items()}
    return {thing: tuple(" ".join(part.split()) for part in drawing.split("|")) for thing, drawing in drawings.items()}


def picture(name: str) -> str:
    """An SVG document of 200 by 200 that shows the product of this name, titled with it.

    The first word is the adjective, the rest the thing. What the catalogue does not know is drawn as a parcel, in
    a finish that its name picks.
    """
    adjective, _, thing = name.partition(" ")
    finish = FINISHES.get(adjective)
    if finish is None:
        finish = list(FINISHES.values())[zlib.crc32(name.encode()) % len(FINISHES)]
    marks = finish.pattern.format(ink=finish.ink, accent=finish.accent)
    known = shapes()
    parts = "".join(_part(part) for part in known.get(thing, known["Parcel"]))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" role="img" aria-labelledby="title">'
        f'<title id="title">{escape(name) or "Product"}</title><style>{_STYLE.format(**finish._asdict())}</style>'
        '<defs><pattern id="p" width="24" height="24" patternUnits="userSpaceOnUse">'
        f'<rect width="24" height="24" fill="{finish.body}"/>{marks}</pattern></defs>'
        f'<rect width="200" height="200" fill="{finish.field}"/>'
        f'<ellipse cx="100" cy="169" rx="78" ry="8" fill="{finish.dark}" opacity=".13"/>{parts}</svg>'
    )


def _part(part: str) -> str:
    paint, _, form = part.partition(" ")
    form, _, turn = form.partition(" @")
    if form.startswith("M"):
        middle, element = "100 100", f'path d="{form}"'
    elif form.startswith("r"):
        x, y, width, height, corner = (*map(float, form[1:].split()), 0)[:5]
        middle = f"{x + width / 2:g} {y + height / 2:g}"
        element = f'rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{corner:g}"'
    else:
        x, y, across, *down = map(float, form[1:].split())
        middle = f"{x:g} {y:g}"
        element = f'ellipse cx="{x:g}" cy="{y:g}" rx="{across:g}" ry="{(down or [across])[0]:g}"'
    if turn:
        element += f' transform="rotate({turn} {middle})"'
    outlined = f'<{element} class="q"/>' if paint == "p" else ""
    return f'{outlined}<{element} class="{paint}"/>'

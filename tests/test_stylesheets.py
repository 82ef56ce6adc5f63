"""Stylesheets: five font sizes in rem, and media queries that follow the browser's font size."""

import re
from pathlib import Path

import pytest
from django.conf import settings

SHEETS = sorted((settings.BASE_DIR / "static").glob("*.css"))
SIZES = {"xs", "s", "m", "l", "xl"}
TOKEN = r"var\(--text-(?:xs|s|m|l|xl)\)"


def read_css(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_font_sizes_are_tokens(path):
    css = read_css(path)
    sizes = re.findall(r"(?<![\w-])font-size:\s*([^;}]+)", css)
    fonts = re.findall(r"(?<![\w-])font:\s*([^;}]+)", css)
    wrong = [value for value in sizes if not re.fullmatch(rf"({TOKEN}|inherit|0)( !important)?", value.strip())]
    wrong += [value for value in fonts if value.strip() != "inherit" and not re.search(TOKEN, value)]
    assert not wrong, f"{path.name}: use var(--text-xs|s|m|l|xl) of okno.css instead of {wrong}"


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_text_can_grow(path):
    css = read_css(path)
    assert not re.findall(r"(?<![\w-])line-height:\s*[\d.]+px", css), "line heights grow with the text: use a number"
    in_px = re.findall(r"@(?:media|container)[^{]*[\d.]+px[^{]*", css)
    assert not in_px, f"{path.name}: use em in @media and rem in @container (1rem = 16px) instead of {in_px}"


def test_five_sizes_in_rem():
    for sheet, prefix in (("okno.css", ": "), ("admin.css", ":")):
        sizes = dict(re.findall(rf"--text-(\w+){prefix}([^;]+);", read_css(settings.BASE_DIR / "static" / sheet)))
        assert set(sizes) == SIZES and all(re.fullmatch(r"[\d.]+rem", size) for size in sizes.values()), sizes

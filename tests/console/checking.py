"""Accessibility of a page, by axe-core: in both schemes, on a phone and on a desk."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.console.browsing import picture

if TYPE_CHECKING:
    from playwright.async_api import Page

AXE = Path(__file__).parent / "axe" / "axe.min.js"
"""axe-core, as `packaging/vendor.py` fetches it."""

SCHEMES: Final = ("light", "dark")
WIDTHS: Final = (390, 1440)
HEIGHT: Final = 900
AT_REST = "document.getAnimations().forEach(each => each.finish())"
RUN = """async () => {
    const {violations} = await axe.run(document, {resultTypes: ['violations']});
    const why = ({any, all, none}) => [...any, ...all, ...none].map(({message}) => message).join('; ');
    const told = node => `${node.target.join(' ')} (${why(node)})`;
    return violations.map(({id, help, nodes}) => `${id}: ${help}: ${nodes.slice(0, 5).map(told).join(' | ')}`);
}"""
OVERFLOW = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('body *')].filter(each => each.getBoundingClientRect().right > width + 1)
        .slice(-3).map(each => `${each.tagName}.${each.className} is wider than the page`);
}"""


@functools.cache
def _axe() -> str:
    return AXE.read_text()


async def check(page: Page, name: str = "page") -> None:
    """Assert that the page, as it is now, has no violation, and is no wider than the screen, in each combination.

    Args:
        name: Of the pictures, if `PICTURES` names a folder for them.
    """
    found: list[Any] = []
    await page.evaluate(_axe())
    for scheme in SCHEMES:
        for width in WIDTHS:
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size({"width": width, "height": HEIGHT})
            await page.evaluate(AT_REST)
            await picture(page, f"{name}-{width}-{scheme}")
            found += [f"{scheme}, {width}: {each}" for each in await page.evaluate(RUN)]
            found += [f"{scheme}, {width}: {each}" for each in await page.evaluate(OVERFLOW)]
    assert not found, "\n".join(found)

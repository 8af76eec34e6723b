# SPDX-License-Identifier: MIT
"""Looks at the report in a browser: Chromium without a screen.

    python3 -m unittest discover -s tests/bench -p browser_check.py
"""
import json
import os
import re
import struct
import subprocess
import unittest
import zlib
from html import escape, unescape

import report_test

CHROMIUM = "chromium"
# Its windows are at least so wide; what is narrower is a frame in one.
NARROWEST = 500
# Measured by the page itself, when it has been laid out.
MEASURE = """<script>addEventListener("load", () => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.right, r.width, r.height]; };
  const style = getComputedStyle(document.body);
  top.document.title = JSON.stringify({
    window: innerWidth, document: document.documentElement.scrollWidth,
    pictures: [...document.querySelectorAll("svg")].map(box),
    texts: [...document.querySelectorAll("svg text")].map(e => [box(e), box(e.closest("svg"))]),
    ground: style.backgroundColor, ink: style.color, dark: matchMedia("(prefers-color-scheme:dark)").matches,
    requests: performance.getEntriesByType("resource").length});
});</script>"""


def luminance(colour):
    """As WCAG 2 defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def colours_of(png):
    """How many colours a picture has, of 8 bits a channel."""
    with open(png, "rb") as file:
        data = file.read()
    at, packed, width, channels = 8, b"", 0, 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, _, _, colour_type = struct.unpack(">IIBB", body[:10])
            channels = {2: 3, 6: 4}[colour_type]
        elif kind == b"IDAT":
            packed += body
        at += size + 12
    raw, stride = zlib.decompress(packed), width * channels
    before, colours = bytearray(stride), set()
    for start in range(0, len(raw), stride + 1):
        how, line = raw[start], bytearray(raw[start + 1:start + 1 + stride])
        for i in range(stride):
            left = line[i - channels] if i >= channels else 0
            above, corner = before[i], before[i - channels] if i >= channels else 0
            if how == 1:
                line[i] = (line[i] + left) & 255
            elif how == 2:
                line[i] = (line[i] + above) & 255
            elif how == 3:
                line[i] = (line[i] + (left + above) // 2) & 255
            elif how == 4:
                guess = left + above - corner
                nearest = min((left, above, corner), key=lambda value: abs(guess - value))
                line[i] = (line[i] + nearest) & 255
        colours.update(bytes(line[i:i + 3]) for i in range(0, stride, channels))
        before = line
    return len(colours)


class Browser(report_test.WithPage):
    def browse(self, page, *what, width=1280, dark=False):
        """Runs the browser on the page, and gives what it prints."""
        path = self.path("page.html")
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
        # 0 is dark, 1 is light.
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
             f"--user-data-dir={self.path('profile')}", f"--window-size={width},900",
             f"--blink-settings=preferredColorScheme={0 if dark else 1}", *what, "file://" + path],
            env={**os.environ, "HOME": self.folder}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def measure(self, **how):
        page, _ = self.everything()
        self.assertIn("</body>", page)
        page = page.replace("</body>", MEASURE + "</body>")
        if how.get("width", 1280) < NARROWEST:
            page = (f'<!DOCTYPE html><html><head><title></title></head><body><iframe srcdoc="{escape(page)}" '
                    f'style="border:0;width:{how["width"]}px;height:800px"></iframe></body></html>')
            how["width"] = NARROWEST
        shown = self.browse(page, "--dump-dom", **how)
        return json.loads(unescape(re.search(r"<title>(.*?)</title>", shown, re.S)[1]))

    def test_pictures_are_there_and_fit_on_screens_and_phones(self):
        for width in (1280, 360):
            seen = self.measure(width=width)
            self.assertEqual(seen["window"], width)
            self.assertLessEqual(seen["document"], width, "the page can be moved sideways")
            self.assertGreater(len(seen["pictures"]), 5)
            for left, right, wide, high in seen["pictures"]:
                self.assertGreater(min(wide, high), 30)
                self.assertGreaterEqual(left, 0)
                self.assertLessEqual(right, width)
            self.assertGreater(len(seen["texts"]), 20)
            for (left, right, _, _), (begin, end, _, _) in seen["texts"]:
                self.assertGreaterEqual(left, begin - 1, "a label is cut off")
                self.assertLessEqual(right, end + 1, "a label is cut off")
            self.assertEqual(seen["requests"], 0)

    def test_text_can_be_read_in_light_and_dark(self):
        light, dark = self.measure(), self.measure(dark=True)
        self.assertEqual([light["dark"], dark["dark"]], [False, True])
        self.assertGreater(luminance(light["ground"]), 0.8)
        self.assertLess(luminance(dark["ground"]), 0.1)
        for seen in (light, dark):
            self.assertGreater(contrast(seen["ground"], seen["ink"]), 7)

    def test_a_screenshot_shows_something(self):
        page, _ = self.everything()
        picture = self.path("page.png")
        self.browse(page, "--screenshot=" + picture, width=700)
        self.assertGreater(colours_of(picture), 20)
        empty = "<!DOCTYPE html><html><body></body></html>"
        self.browse(empty, "--screenshot=" + picture, width=700)
        self.assertEqual(colours_of(picture), 1)


if __name__ == "__main__":
    unittest.main()

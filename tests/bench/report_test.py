# SPDX-License-Identifier: MIT
import os
import re
import xml.etree.ElementTree as xml

from support import TestWithFiles, runs
import plots
import report

SVG = "{http://www.w3.org/2000/svg}"


class WithPage(TestWithFiles):
    def report(self, *benchmarks, **context):
        """The page's text, and the folder of the pictures."""
        path = self.write("a.json", *benchmarks, **context)
        report.run([path, "--into", self.path("r.html"), "--svg", self.path("svg")])
        with open(self.path("r.html"), encoding="utf-8") as file:
            return file.read(), self.path("svg")

    def everything(self, **context):
        return self.report(
            runs("fib36/serial/1", [40, 41, 42, 41, 41]), runs("fib36/weir-functions/1", [100, 101, 102, 101, 101]),
            runs("fib36/weir-functions/2", [50, 52, 51, 51, 51]), runs("fib36/onetbb/1", [900, 901, 950, 901, 901]),
            runs("fib36/onetbb/2", [40, 41, 42, 41, 41]), runs("fib36/weir-functions/1", [100], rss_mb=[5.5]),
            runs("throughput/weir/1", [1, 1], items_per_second=[30e6, 31e6]),
            runs("throughput/asio/1", [1, 1], items_per_second=[3e6, 4e6]),
            runs("wake_up/weir", [1, 1], p50_us=[5, 6], p90_us=[8, 9], p99_us=[20, 90]),
            runs("wake_up/asio", [1, 1], p50_us=[4, 4], p90_us=[9, 9], p99_us=[30, 31]),
            runs("idle_cpu/weir", [1, 1], cpu_us_per_s=[0, 0]),
            runs("mixed/weir", [1, 1], p50_us=[5, 6], p99_us=[20, 90], region_ms=[300, 310]),
            runs("waiting_task/weir", [1, 1], bytes_per_task=[390, 391]),
            *(runs(f"inside/{peer}/{workers}", [1, 1], items_per_second=[speed * 1e6, speed * 1e6])
              for peer, speed in (("weir", 9), ("go", 3)) for workers in (1, 2, 4)), **context)


class Page(WithPage):
    def test_page_is_well_formed_and_has_every_section(self):
        page, _ = self.everything()
        tree = xml.fromstring(page)
        self.assertEqual([s.get("id") for s in tree.iter("section")],
                         ["summary", "fork", "throughput", "latency", "idle", "times", "tasks", "memory"])
        links = {a.get("href")[1:] for a in tree.iter("a")}
        self.assertEqual(links, {s.get("id") for s in tree.iter("section")})

    def test_page_needs_nothing_else(self):
        page, _ = self.everything()
        without_names = page.replace("http://www.w3.org/2000/svg", "")
        self.assertIsNone(re.search(r"https?:|//[a-z]|<link|<script|<iframe|<img|@import|url\(|src=", without_names))

    def test_page_knows_both_colour_schemes_and_narrow_screens(self):
        page, _ = self.everything()
        self.assertIn("prefers-color-scheme:dark", page)
        self.assertIn('name="viewport"', page)
        self.assertIn("@media(max-width:480px)", page)

    def test_page_says_where_the_figures_come_from(self):
        page, _ = self.everything(load_before="3.5", other_compilers="go 1.19")
        for words in ("go 1.19", "A CPU", "g++ 12.2.0", "release", "bench/run --quick", "load 3.50 on 2 CPUs"):
            self.assertIn(words, page)

    def test_every_figure_stands_in_a_table(self):
        page, _ = self.everything()
        cells = {"".join(td.itertext()) for td in xml.fromstring(page).iter("td")}
        for figure in ("41", "101", "51", "901", "5.5", "30.5", "3.5", "8.5", "55"):
            self.assertIn(figure, cells)

    def test_losses_are_shown_with_wins(self):
        _, folder = self.everything()
        groups = xml.parse(os.path.join(folder, "summary.svg")).getroot().findall(f"{SVG}g")
        sides = {g.find(f"{SVG}title").text.split(":")[0]: g.get("class") for g in groups}
        self.assertEqual((sides["fib36, 1"], sides["fib36, 2"]), ("c0", "c2"))
        self.assertEqual(list(sides)[-1], "wake up, p99")
        self.assertIn("inside, 4", sides)
        self.assertEqual(sides["throughput, 1"], "c6")  # two rounds decide nothing

    def test_text_of_results_cannot_become_markup(self):
        page, _ = self.report(runs("sort/<b>&amp;/1", [1]), cpu="<script>alert(1)</script>")
        self.assertNotIn("<script", page)
        self.assertNotIn("<b>", page)
        xml.fromstring(page)

    def test_pictures_are_well_formed_and_stay_inside_their_frame(self):
        _, folder = self.everything()
        names = sorted(os.listdir(folder))
        self.assertEqual(names, ["fib36-real_time.svg", "fib36-scaling.svg", "idle_cpu-cpu_us_per_s.svg",
                                 "inside-items_per_second-over.svg", "memory.svg", "mixed-latency.svg",
                                 "mixed-region_ms.svg", "summary.svg", "throughput-items_per_second.svg",
                                 "waiting_task-bytes_per_task.svg", "wake_up-latency.svg"])
        for name in names:
            with self.subTest(name):
                root = xml.parse(os.path.join(folder, name)).getroot()
                width, height = float(root.get("width")), float(root.get("height"))
                self.assertIn("prefers-color-scheme:dark", root.find(f"{SVG}style").text)
                for line in root.iter(f"{SVG}line"):
                    self.assertTrue(all(-1 <= float(line.get(x)) <= width + 1 for x in ("x1", "x2")))
                    self.assertTrue(all(-1 <= float(line.get(y)) <= height + 1 for y in ("y1", "y2")))
                for dot in root.iter(f"{SVG}circle"):
                    self.assertTrue(0 <= float(dot.get("cx")) <= width and 0 <= float(dot.get("cy")) <= height)

    def test_bars_are_as_long_as_their_medians(self):
        _, folder = self.everything()
        rects = list(xml.parse(os.path.join(folder, "fib36-real_time.svg")).getroot().iter(f"{SVG}rect"))[1:]
        widths = [float(r.get("width")) for r in rects]
        for width, median in zip(widths, (101, 901, 41, 51, 41)):
            self.assertAlmostEqual(width / widths[1], median / 901, delta=0.002)

    def test_bars_end_at_their_value_on_the_axis(self):
        _, folder = self.report(runs("fib36/weir-functions/1", [100]))
        root = xml.parse(os.path.join(folder, "fib36-real_time.svg")).getroot()
        bar = list(root.iter(f"{SVG}rect"))[1]
        mark = [t for t in root.iter(f"{SVG}text") if t.text == "100" and t.get("text-anchor") == "middle"][0]
        self.assertAlmostEqual(float(bar.get("x")) + float(bar.get("width")), float(mark.get("x")), delta=0.2)

    def test_few_results_make_a_page_too(self):
        for benchmarks in (runs("fib36/weir-functions/1", [5]), runs("idle_cpu/weir", [1], cpu_us_per_s=[0]),
                           runs("wake_up/weir", [1], p50_us=[0.0], p99_us=[3]), runs("new/thing", [2]),
                           runs("wake_up/weir", [1], p50_us=[0.0]),
                           runs("wake_up/weir", [1] * 3, p50_us=[0.0, 5, 6])):
            with self.subTest(benchmarks[0]["name"]):
                xml.fromstring(self.report(benchmarks)[0])


class Colours(TestWithFiles):
    def test_peers_of_one_question_have_colours_of_their_own(self):
        for together in (["weir", "onetbb", "asio", "mutex", "libgomp", "libomp", "serial", "moodycamel", "boost-asio",
                          "boost-fiber", "eigen", "std-async", "go", "tokio"],
                         ["weir-functions", "onetbb", "libgomp-static", "libgomp-dynamic", "libomp-static",
                          "libomp-dynamic", "serial", "rayon", "eigen", "std-par"],
                         ["weir-functions", "weir-coroutines", "weir-ready", "onetbb", "libgomp-tasks", "libomp-tasks",
                          "serial", "rayon", "boost-fiber", "std-async"]):
            self.assertEqual(len({plots.colour(p) for p in together}), len(together), together)

    def test_every_colour_is_defined(self):
        for peer in [*plots.PEERS, "go", "rayon", "something new"]:
            self.assertIn(f"c{plots.colour(peer)}", plots.COLOURS)
            self.assertIn(f".c{plots.colour(peer)}{{", plots.style())


class Marks(TestWithFiles):
    def test_marks_are_short(self):
        self.assertEqual([plots.mark_text(10.0 ** p) for p in range(-2, 8)],
                         ["0.01", "0.1", "1", "10", "100", "1000", "10000", "100k", "1M", "10M"])

    def test_marks_of_axes_are_round_and_few(self):
        for highest in (0.03, 1, 7, 99, 2697, 1e6):
            marks = plots.steps(highest)
            self.assertEqual(marks[0], 0)
            self.assertTrue(3 <= len(marks) <= 6, marks)
            self.assertTrue(0.7 * highest <= marks[-1] <= highest * 1.001, marks)

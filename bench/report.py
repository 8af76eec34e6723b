# SPDX-License-Identifier: MIT
"""Writes results as one HTML page that needs nothing else, with plots and the figures beside them.

    report.py RESULTS.json... --into REPORT.html [--svg FOLDER]    --svg: also the pictures, as files of their own
"""
import argparse
import os
from html import escape

import plots
from results import (FIGURES, PERCENTILES, SUBMITTING, Results, best_peer, factor, is_weir, load_of, main, nearness,
                     number, parameter_words, percent)
from stats import ENOUGH, ratio
from table import better_by

PAGE_STYLE = """
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:20px 16px 60px}h1{font-size:26px;margin:0 0 8px}
h2{font-size:20px;margin:36px 0 4px}h3{font-size:16px;margin:0 0 6px}p{margin:4px 0 10px;max-width:75ch}
a{color:var(--c0)}nav a{margin-right:14px;white-space:nowrap}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 14px;margin:12px 0}
dt{color:var(--muted)}dd{margin:0}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
.warn{background:var(--warn);border-radius:8px;padding:8px 14px;margin:12px 0}.warn p{max-width:none}
.card{background:var(--ground);border:1px solid var(--grid);border-radius:10px;padding:14px;margin:12px 0}
.row{display:flex;flex-wrap:wrap;gap:18px 26px;align-items:flex-start}
.row>svg{flex:0 1 380px;width:100%;max-width:380px;height:auto}
.table{flex:1 1 320px;min-width:0;overflow-x:auto}.wide{flex-basis:100%}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:2px 8px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{color:var(--muted);font-weight:500}th:first-child,td:first-child{text-align:left;padding-left:0}.us{font-weight:600}
@media(max-width:480px){main{padding:14px 8px 40px}.card{padding:10px;border-radius:8px}
dl{grid-template-columns:1fr}dd{margin-bottom:6px}}
"""


def peer_order(peer):
    return peer == "serial", not is_weir(peer), peer == "weir-coroutines", peer


def interval(series):
    return f"{number(series.interval[0])} to {number(series.interval[1])}" if series.interval else "–"


def times(found):
    """A ratio and its interval as two cells' texts."""
    if found is None:
        return "–", "–"
    value, low, high = found
    return f"{factor(value)}×", "–" if low is None else f"{factor(low)} to {factor(high)}"


def table(head, rows, wide=False):
    """Rows begin with whether they are weir's. `wide`: not beside the picture but below it."""
    cells = ["<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>"]
    for ours, *row in rows:
        cells.append(f'<tr{" class=" + chr(34) + "us" + chr(34) if ours else ""}>' +
                     "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>")
    return f'<div class="table{" wide" if wide else ""}"><table>' + "".join(cells) + "</table></div>"


# How the summary tells figures of a question from its main one.
SAID = {"rss_mb": "memory", "cpu_ns_per_job": "CPU", "arm_s": "arm", "region_ms": "region"}


class Report:
    def __init__(self, results):
        self.results = results
        self.pictures = {}

    def keep(self, name, svg):
        """Remembers a picture by the name of its file."""
        self.pictures[name] = svg
        return svg

    def questions(self, *figures):
        return list(dict.fromkeys(key.question for key in self.results.keys(*figures)))

    def figures_table(self, keys):
        rows = []
        for key in keys:
            by_peer, serial = self.results.runs[key], self.results.serial(key)
            best = best_peer(by_peer, key.figure)
            for peer in sorted(by_peer, key=peer_order):
                to_best = better_by(by_peer[peer], by_peer[best], key.figure) if best and is_weir(peer) else None
                series = by_peer[peer]
                row = [is_weir(peer), peer, key.parameter or "–", number(series.median), interval(series),
                       percent(series.spread), *times(to_best)]
                rows.append(row + ([times(better_by(series, serial, key.figure))[0]] if serial else []))
        unit = FIGURES[keys[0].figure][0]
        head = ["peer", "threads", unit, "95 % interval", "spread", "to the best peer", "interval"]
        if self.results.serial(keys[0]):
            head.append("to serial")
        return table(head, rows)

    def bars_of(self, question, figure):
        keys = [k for k in self.results.keys(figure) if k.question == question]
        groups = [(parameter_words(k), [plots.Bar(p, p, self.results.runs[k][p])
                                                for p in sorted(self.results.runs[k], key=peer_order)]) for k in keys]
        return self.keep(f"{question}-{figure}", plots.bars(question, groups, FIGURES[figure][0])), keys

    def scaling_of(self, question):
        """How much faster than the serial program, over workers; "" without a serial one or with one count only."""
        keys = [k for k in self.results.keys("real_time") if k.question == question]
        serial = self.results.serial(keys[0])
        if serial is None or len(keys) < 2:
            return ""
        peers = sorted({p for k in keys for p in self.results.runs[k]} - {"serial"}, key=peer_order)
        lines = [plots.Line(p, {k.parameter: ratio(serial, self.results.runs[k][p])
                                for k in keys if p in self.results.runs[k]}) for p in peers]
        places = [k.parameter for k in keys]
        return self.keep(f"{question}-scaling", plots.lines_over(
            f"{question}: speed-up over workers", lines, places, "times as fast as serial", "workers",
            ideal=[float(p) for p in places]))

    def lines_of(self, question, figure):
        """The figure over workers or submitting threads."""
        keys = [k for k in self.results.keys(figure) if k.question == question]
        # The serial program has one place only, often far from all others; it stands in the table.
        peers = sorted({p for k in keys for p in self.results.runs[k]} - {"serial"}, key=peer_order)
        lines = [plots.Line(p, {k.parameter: (s.median, *(s.interval or (None, None))) for k in keys
                                if (s := self.results.runs[k].get(p))}) for p in peers]
        axis = "threads that submit" if question in SUBMITTING else "workers"
        return self.keep(f"{question}-{figure}-over", plots.lines_over(
            f"{question} over {axis}", lines, [k.parameter for k in keys], FIGURES[figure][0], axis)), keys

    def cards(self, *figures):
        for question in self.questions(*figures):
            for figure in figures:
                count = sum(k.question == question for k in self.results.keys(figure))
                if count == 0:
                    continue
                # Many bars for each of many parameters are hard to follow.
                as_lines = figure != "real_time" and count > 2
                svg, keys = (self.lines_of if as_lines else self.bars_of)(question, figure)
                scaling = self.scaling_of(question) if figure == "real_time" else ""
                yield self.card(question, svg + scaling + self.figures_table(keys))

    def latencies(self):
        for question in self.questions(*PERCENTILES):
            keys = [k for k in self.results.keys(*PERCENTILES) if k.question == question]
            # With a parameter, its largest value.
            most = max(int(k.parameter or 0) for k in keys)
            keys = [k for k in keys if int(k.parameter or 0) == most]
            words = parameter_words(keys[0])
            peers = sorted({p for k in keys for p in self.results.runs[k]}, key=peer_order)
            names = {k: FIGURES[k.figure][0].split()[0] for k in keys}
            lines = [plots.Line(p, {names[k]: (s.median, *(s.interval or (None, None))) for k in keys
                                    if (s := self.results.runs[k].get(p))}) for p in peers]
            svg = plots.lines_over(f"{question}: percentiles", lines, list(names.values()), "µs", logarithmic=True)
            head = ["peer", *(words for k in keys for words in (f"{names[k]} µs", "95 % interval"))]
            rows = []
            for p in peers:
                found = [self.results.runs[k].get(p) for k in keys]
                rows.append([is_weir(p), p, *(cell for series in found for cell in (
                    (number(series.median), interval(series)) if series else ("–", "–")))])
            yield self.card(", ".join(filter(None, (question, words))),
                            self.keep(f"{question}-latency", svg) + table(head, rows, wide=True))

    def memory(self):
        keys = self.results.keys("rss_mb")
        most = {k.question: k for k in keys}  # the last key of a question has the most workers
        groups = [(f"{q}, {parameter_words(k)}", [plots.Bar(p, p, s) for p, s in sorted(
            self.results.runs[k].items(), key=lambda item: peer_order(item[0]))]) for q, k in most.items()]
        svg = self.keep("memory", plots.bars("Peak memory", groups, "MB"))
        rows = [[is_weir(p), k.question, parameter_words(k), p, number(self.results.runs[k][p].median)]
                for k in keys for p in sorted(self.results.runs[k], key=peer_order)]
        yield self.card("peak resident set beyond the data",
                        svg + table(["problem", "threads", "peer", "MB"], rows))

    def summary(self):
        rows = []
        for key in sorted(self.results.keys(), key=lambda k: k.figure == "rss_mb"):
            by_peer = self.results.runs[key]
            best = best_peer(by_peer, key.figure)
            for peer in sorted(filter(is_weir, by_peer), key=peer_order):
                found = better_by(by_peer[peer], by_peer[best], key.figure) if best else None
                if found:
                    what = [key.parameter]
                    if key.figure in PERCENTILES:
                        what.append(FIGURES[key.figure][0].split()[0])
                    what.append(SAID.get(key.figure))
                    what.append(peer.removeprefix("weir-") if peer not in ("weir", "weir-functions") else "")
                    label = ", ".join(filter(None, (key.question.replace("_", " "), *what)))
                    rounds = min(len(by_peer[peer].values), len(by_peer[best].values))
                    rows.append((label, best, found, rounds >= ENOUGH))
        if not rows:
            return ""
        svg = self.keep("summary", plots.ratios(
            "weir to the best peer", [(label, found, enough) for label, _, found, enough in rows]))
        return self.card("weir to the best peer of each question", svg + table(
            ["question, threads", "best peer", "ratio", "95 % interval"],
            [[False, label, best, *times(found)] for label, best, found, _ in rows]))

    @staticmethod
    def card(question, body):
        return f'<div class="card"><h3>{escape(question.replace("_", " "))}</h3><div class="row">{body}</div></div>'

    def about(self):
        context = self.results.context
        caches = ", ".join(f"L{c['level']} {c['type'].lower()} {c['size'] // 1024} KiB"
                           for c in context.get("caches", ()))
        facts = {"Machine": f"{context.get('cpu', 'CPU model not recorded')}, {context['num_cpus']} CPUs, "
                            f"{context.get('mhz_per_cpu', '?')} MHz",
                 "Caches": caches or "not recorded",
                 "System": context.get("system", "not recorded"),
                 "Compiler": f"{context.get('compiler', 'not recorded')}, "
                             f"{context.get('build_type', 'build type not recorded')}",
                 "weir": context.get("revision", "not recorded"),
                 "Date": context["date"][:16].replace("T", " "),
                 "Load before": f"{load_of(context):.2f} on {context['num_cpus']} CPUs",
                 "Rounds": f"{self.results.rounds}, peers interleaved in random order"}
        if nearness(context):
            facts["Nearness"] = nearness(context)
        if context.get("other_compilers"):
            facts["Other compilers"] = context["other_compilers"]
        items = "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
        command = escape(context.get("command", "bench/run"))
        return f"<dl>{items}<dt>To reproduce</dt><dd><code>{command}</code></dd></dl>"

    def page(self):
        sections = [
            ("summary", "Summary", "How many times better weir is than the best other library, by medians. Right of "
             "the dashed line weir wins, left of it it loses; grey: the interval contains 1, or there are too few "
             "rounds to tell.", [self.summary()]),
            ("fork", "Fork and join", "Time of a run, less is better. Beside it, how many times as fast as the "
             "program without any library; the dashed line is as many times as there are workers.",
             self.cards("real_time")),
            ("throughput", "Throughput", "Operations a second in millions, more is better.",
             self.cards("items_per_second")),
            ("latency", "Latency", "Percentiles within a round, less is better; logarithmic.", self.latencies()),
            ("idle", "CPU time", "What threads without work use in a second, and what a job costs all threads "
             "together; less is better.", self.cards("cpu_us_per_s", "cpu_ns_per_job")),
            ("times", "Other times", "To arm the timers before they fire or are cancelled, and of the region beside "
             "which the requests run; less is better.", self.cards("arm_s", "region_ms")),
            ("tasks", "Memory of a task", "How much the resident set grows by a task or job that waits; less is "
             "better.", self.cards("bytes_per_task")),
            ("memory", "Memory", "Peak of a process that runs the problem once, without the problem's own data; less "
             "is better. The plot shows the largest number of workers.",
             self.memory() if self.results.keys("rss_mb") else [])]
        links, bodies = [], []
        for name, title, words, cards in sections:
            body = "".join(cards)
            if body:
                links.append(f'<a href="#{name}">{title}</a>')
                bodies.append(f'<section id="{name}"><h2>{title}</h2><p>{words}</p>{body}</section>')
        warnings = "".join(f"<p>{escape(w)}</p>" for w in self.results.warnings())
        return ('<!DOCTYPE html>\n<!-- SPDX-License-Identifier: MIT -->\n<html lang="en"><head><meta charset="utf-8"/>'
                '<meta name="viewport" content="width=device-width, initial-scale=1"/><title>weir benchmarks</title>'
                f"<style>{plots.style()}{PAGE_STYLE}</style></head><body><main><h1>weir benchmarks</h1>"
                "<p>Medians of interleaved rounds; whiskers and intervals are 95 % bootstrap intervals of the median. "
                "Spread is the distance of the quartiles in parts of the median. Every run checked its result.</p>"
                + (f'<div class="warn" role="note">{warnings}</div>' if warnings else "")
                + self.about() + f'<nav>{" ".join(links)}</nav>' + "".join(bodies) + "</main></body></html>\n")


def run(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+")
    parser.add_argument("--into", required=True, metavar="REPORT.html")
    parser.add_argument("--svg", metavar="FOLDER")
    options = parser.parse_args(arguments)
    report = Report(Results(options.results))
    page = report.page()
    with open(options.into, "w", encoding="utf-8") as file:
        file.write(page)
    if options.svg:
        os.makedirs(options.svg, exist_ok=True)
        for name, svg in report.pictures.items():
            with open(os.path.join(options.svg, name + ".svg"), "w", encoding="utf-8") as file:
                file.write(plots.standalone(svg))


if __name__ == "__main__":
    main(run)

"""The chart: bars beside pg_dump's, whose length is 1, drawn without any library."""

from html import escape

from .bars import beside

WIDTH, LEFT, ROW, BAR = 820, 230, 24, 15
COLOURS = {"pgkeep": "#2f7d4f", "floor": "#b9bec6", "": "#7d8ca3"}
PANELS = [("First backup, time", "first backup", "seconds"),
          ("First backup, bytes stored", "first backup", "stored"),
          ("Restore, time", "restore", "seconds"),
          ("Restore of one small table, time", "restore of one small table", "seconds")]


def chart(results):
    lines, y = [], 10
    for title, part, of in PANELS:
        if not results.names(part):
            continue
        one = beside(results, part)
        bars = [(results.ratio(part, of, name, one), name) for name in results.names(part)]
        bars = sorted(bar for bar in bars if bar[0] is not None)
        y += 24
        lines.append(f'<text x="10" y="{y}" class="title">{escape(title)}'
                     f'<tspan class="note"> ({escape(one)} is 1)</tspan></text>')
        y += 10
        longest = max(ratio for ratio, _ in bars)
        for ratio, name in bars:
            lines += bar(name, ratio, ratio / longest * (WIDTH - LEFT - 60), y)
            y += ROW
    y += 22
    lines.append(f'<text x="10" y="{y - 6}" class="note">Shorter is better.</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
            f'width="{WIDTH}" height="{y}">\n<style>text {{ font: 13px sans-serif; fill: #222 }} '
            '.title { font-weight: bold } .note { font-weight: normal; fill: #555 }</style>\n'
            f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>\n' + "\n".join(lines) + "\n</svg>\n")


def bar(name, ratio, length, y):
    colour = COLOURS.get(name.split(",")[0], COLOURS[""])
    return [f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" '
            f'fill="{colour}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 12}">{ratio:.2f}</text>']

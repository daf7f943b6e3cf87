"""A whole HTML document in one file: no script, nothing fetched, readable by day and by night and on paper."""

import html

__all__ = ["page"]

STYLE = """
:root{color-scheme:light dark;--line:#8885;--soft:#8881;--accent:light-dark(#1559a8,#7fb6f5)}
body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .3rem} h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
.table{overflow-x:auto} table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.22rem .55rem;white-space:nowrap;vertical-align:top} thead th{border-bottom:2px solid var(--line);font-weight:600}
tbody tr:hover{background:var(--soft)} tfoot td{border-top:2px solid var(--line);font-weight:600}
caption{text-align:left;font-weight:600;padding:.3rem .7rem} tbody.inside{background:var(--soft)}
td label{cursor:pointer} p{margin:.35rem 0;max-width:60rem} .note,.table+p,.table~p{opacity:.75;font-size:.87rem}
figure{margin:.5rem 0} img{max-width:100%;height:auto;background:#fff;border-radius:4px}
@media print{body{margin:0;max-width:none} tbody.inside{display:table-row-group!important}}
"""


def page(title, *parts):
    """A document of HTML `parts`; the title is text and is escaped, the parts are taken as they are."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n'

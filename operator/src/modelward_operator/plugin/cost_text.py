"""The cost document as a table that a person reads, and as CSV. Called by `cost_cli.py`."""

import csv
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

Json = dict[str, Any]
COLUMNS: Final = ("NAMESPACE", "MODEL", "PODS", "PER HOUR", "SPENT", "FORECAST", "IDLE FOR", "IDLE SCALING SAVES", "")
BUDGET_COLUMNS: Final = ("NAMESPACE", "BUDGET", "PERIOD", "LIMIT", "SPENT", "LEFT", "FORECAST", "ENDS", "LAST ACTION")
FIELDS: Final = (
    "namespace",
    "name",
    "currency",
    "exists",
    "pods",
    "hourly",
    "spent",
    "estimated",
    "forecast",
    "idleSeconds",
    "savedByIdleScaling",
    "unknown",
)


def page(found: Json) -> str:
    """The tables, the notes last."""
    return "\n".join(_lines(found))


def sheet(found: Json) -> str:
    """The models as CSV with a header; amounts in full, an empty cell where nothing is known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in found["models"]:
        idle = row.get("idle", {})
        flat = {**row, "idleSeconds": idle.get("seconds", ""), "savedByIdleScaling": idle.get("saved", "")}
        writer.writerow([flat.get(name, "") for name in FIELDS])
    return out.getvalue()


def _lines(found: Json) -> Iterator[str]:
    period = found["period"]
    yield f"{period['name']} in {period['timeZone']}, {period['start']} to {period['end']}; read {found['time']}"
    yield ""
    if found["models"]:
        rows = [_row(row) for row in found["models"]]
        yield from _table(COLUMNS, [*rows, *(_total(total) for total in found["totals"])])
    else:
        yield "No models."
    if found["budgets"]:
        yield ""
        yield from _table(BUDGET_COLUMNS, [_budget(one) for one in found["budgets"]])
    if found["notes"]:
        yield ""
        yield "Notes"
        yield from (f"  ! {note}" for note in found["notes"])


def _row(row: Json) -> Sequence[str]:
    currency = row["currency"]
    mark = "+ ?" if row.get("unknown") else ""
    without = "?" if mark else "-" if row["pods"] else "0"  # -: it has pods, and nobody charges for them
    amounts = [_money(row[key], currency) if currency else without for key in ("hourly", "spent", "forecast")]
    idle = row.get("idle", {})
    since = "?" if "unknown" in idle else _span(idle["seconds"]) if idle else "-"
    saved = (
        _money(idle["saved"], currency) if currency and "saved" in idle else since if since in {"?", "-"} else without
    )
    name = row["name"] if row["exists"] else f"{row['name']} (deleted)"
    estimated = " ~" if row["estimated"] != "0" else ""
    return (
        row["namespace"],
        name,
        str(row["pods"]),
        amounts[0],
        amounts[1] + estimated,
        amounts[2],
        since,
        saved,
        mark,
    )


def _total(total: Json) -> Sequence[str]:
    currency = total["currency"]
    amounts = [_money(total[key], currency) for key in ("hourly", "spent", "forecast")]
    return ("TOTAL", "", "", *amounts, "", _money(total["savedByIdleScaling"], currency), "")


def _budget(one: Json) -> Sequence[str]:
    currency = one["currency"]
    amounts = [
        "?" if one[key] is None else _money(one[key], currency) for key in ("limit", "spent", "left", "forecast")
    ]
    action = (one["lastAction"] or {}).get("action", "-")
    period = one["period"] + ("" if one["timeZone"] == "UTC" else f" {one['timeZone']}")
    return (one["namespace"], one["name"], period, *amounts, one["periodEnd"] or "?", action)


def _money(text: str, currency: str) -> str:
    """Two decimals, four below one unit: for the eye; JSON and CSV have all nine."""
    amount = Decimal(text)
    return f"{amount:,.{2 if abs(amount) >= 1 or not amount else 4}f} {currency}"


def _span(seconds: int) -> str:
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    for line in (header, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

"""The periods that money is counted by. Called by `costbudget.py`, `policies/cost/periods.py` and the plugin's arguments."""

from enum import StrEnum


class Period(StrEnum):
    """How long the limit holds, before it holds anew."""

    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"

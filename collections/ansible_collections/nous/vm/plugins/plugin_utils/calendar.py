# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The syntax of calendar events, systemd.time(7). Whether a host knows a time zone, and all else, its own systemd says in the probe."""

from __future__ import annotations

import re

WORDS = "minutely|hourly|daily|weekly|monthly|quarterly|semi-?annually|bi-?annually|yearly|annually"
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
NUMBER_OF_DAY = {name: number for number, day in enumerate(DAYS) for name in (day, day[:3])}
ZONE = "(?i:UTC)|[A-Z][A-Za-z0-9_+/-]*"


def is_calendar_event(value: str) -> bool:
    """Tell whether a text is a calendar event; no time zone is looked up."""
    kinds = "".join(kind(part) for part in re.split(" +", value))
    return re.fullmatch("(w|(?=[dDT])d?D?T?|s)z?", kinds) is not None


def kind(part: str) -> str:
    """Return what a part between blanks is: w for a word, d for weekdays, D for a date, T for a time, s for seconds since 1970, z for a time zone."""
    if re.fullmatch(WORDS, part, re.IGNORECASE):
        return "w"
    if are_days(part):
        return "d"
    if date := re.fullmatch("(?:([^-~]+)-)?([^-~]+)([-~])([^-~]+)", part):
        year, month, end, day = date.groups()
        # Days that are counted from the end of a month are such as every month has.
        if are_numbers(year or "*", 0, 2199) and are_numbers(month, 1, 12) and are_numbers(day, 1, 28 if end == "~" else 31):
            return "D"
    if time := re.fullmatch("([^:]+):([^:]+)(?::([^:]+))?", part):
        hour, minute, second = time.groups()
        if are_numbers(hour, 0, 23) and are_numbers(minute, 0, 59) and are_numbers(second or "0", 0, 59, "[0-9]+(?:[.][0-9]+)?"):
            return "T"
    if re.fullmatch("@[0-9]+", part):
        return "s"
    return "z" if re.fullmatch(ZONE, part) else "?"


def are_days(part: str) -> bool:
    """Tell whether a part is weekdays, such as Mon..Wed,Saturday."""
    ranges = [[NUMBER_OF_DAY.get(name, -1) for name in re.split("[.][.]|-", one)] for one in part.lower().removesuffix(",").split(",")]
    return all(len(days) <= 2 and -1 not in days and days == sorted(days) for days in ranges)


def are_numbers(place: str, least: int, most: int, number: str = "[0-9]+") -> bool:
    """Tell whether a place of a date or time, such as 1..5/2,9, has only numbers that it can have."""
    if place == "*":
        return True
    for one in place.split(","):
        found = re.fullmatch(f"({number})(?:[.][.]({number}))?(?:/({number}))?", one)
        if found is None:
            return False
        first, last = float(found[1]), float(found[2] or most)
        if not least <= first <= last <= most or (found[3] and not 0 < float(found[3]) <= most - least):
            return False
    return True

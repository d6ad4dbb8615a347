# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.plugin_utils.kinds import calendar_event

RULE = calendar_event()


@pytest.mark.parametrize(
    "value",
    [
        # All that systemd.time(7) shows.
        *"minutely hourly daily monthly weekly yearly quarterly semiannually".split(),
        "Sat,Thu,Mon..Wed,Sat..Sun",
        "Mon,Sun 12-*-* 2,1:23",
        "Wed *-1",
        "Wed..Wed,Wed *-1",
        "Wed, 17:48",
        "Wed..Sat,Tue 12-10-15 1:2:3",
        "*-*-7 0:0:0",
        "10-15",
        "monday *-12-* 17:00",
        "Mon,Fri *-*-3,1,2 *:30:45",
        "12,14,13,12:20,10,30",
        "12..14:10,20,30",
        "mon,fri *-1/2-1,3 *:30:45",
        "03-05 08:05:40",
        "08:05:40",
        "05:40",
        "Sat,Sun 12-05 08:05:40",
        "Sat,Sun 08:05:40",
        "2003-03-05 05:40",
        "05:40:23.4200004/3.1700005",
        "2003-02..04-05",
        "2003-03-05 05:40 UTC",
        "2003-03-05",
        "daily UTC",
        "weekly Pacific/Auckland",
        "*:2/3",
        "*-02~03",
        "Mon *-05~07/1",
        # And some of its forms at their ends.
        "DAILY utc",
        "bi-annually",
        "Mon-Fri 10:00",
        "*-*-* 00:14:00 UTC",
        "*:*:0/0.5",
        "0/23:0/59",
        "2..4/3:00",
        "*-*~28/4",
        "10-15  10:00",
        "2199-12-31 23:59:59",
        "@1395716396 UTC",
        "daily Etc/GMT+3",
    ],
)
def test_an_event(value: object) -> None:
    assert RULE.read("x", value)[1] == []


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("every day", id="words"),
        pytest.param("daily please", id="word-after"),
        pytest.param("daily UTC UTC", id="two-zones"),
        pytest.param("dailyUTC", id="no-blank"),
        pytest.param("daily 10:00", id="word-and-time"),
        pytest.param("UTC", id="zone-alone"),
        pytest.param("0 3 * * *", id="cron"),
        pytest.param("1d", id="span"),
        pytest.param("2003-03-05T05:40", id="iso-8601"),
        pytest.param("*", id="star"),
        pytest.param("10", id="number-alone"),
        pytest.param("Mo 10:00", id="short-day"),
        pytest.param("Mon Tue 10:00", id="days-apart"),
        pytest.param("Mon Fri", id="day-for-a-zone"),
        pytest.param("Mon,,Tue", id="no-day-between"),
        pytest.param("Mon.. 10:00", id="open-range-of-days"),
        pytest.param("Mon..Tue..Wed", id="two-ranges-of-days"),
        pytest.param("Fri..Mon", id="days-backwards"),
        pytest.param("10:00 Mon", id="day-last"),
        pytest.param("10:00 10-15", id="date-last"),
        pytest.param("2500-01-01", id="year-too-late"),
        pytest.param("*-13-1", id="month-too-large"),
        pytest.param("*-0-1", id="no-month"),
        pytest.param("*-*-0", id="no-day"),
        pytest.param("*-*-32", id="day-too-large"),
        pytest.param("*-*~29", id="day-too-far-from-the-end"),
        pytest.param("*-*-*-*", id="four-places"),
        pytest.param("*-*-*/2", id="step-of-any"),
        pytest.param("*,1:00", id="any-and-one"),
        pytest.param("*-*-* 25:00", id="hour-too-large"),
        pytest.param("24:00", id="hour-24"),
        pytest.param("23:60", id="minute-too-large"),
        pytest.param("23:59:60", id="second-too-large"),
        pytest.param("5..2:00", id="hours-backwards"),
        pytest.param("5..:00", id="open-range-of-hours"),
        pytest.param("10.5:00", id="fraction-of-an-hour"),
        pytest.param("10:00:00/0", id="step-of-nothing"),
        pytest.param("*:0/90", id="step-too-large"),
        pytest.param("10:00:", id="colon-last"),
        pytest.param("10:00:00.", id="point-last"),
        pytest.param("1,:00", id="comma-last"),
        pytest.param("10:00:00:00", id="four-times"),
        pytest.param("@1395716396.5", id="fraction-since-1970"),
        pytest.param("\u0661\u0660:00", id="digits-of-another-script"),
        pytest.param(" daily", id="blank-before"),
        pytest.param("daily ", id="blank-after"),
        pytest.param("daily\n", id="line-feed-after"),
        pytest.param("10-15\t10:00", id="tab"),
        pytest.param("daily\nUnit=other.service", id="second-line"),
        pytest.param("", id="nothing"),
        pytest.param(5, id="number"),
        pytest.param(None, id="none"),
        pytest.param(["daily"], id="list"),
    ],
)
def test_not_an_event(value: object) -> None:
    assert RULE.read("x", value)[1] != []

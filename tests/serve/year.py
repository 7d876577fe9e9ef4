#!/usr/bin/env python3
"""What Python's zoneinfo says of a cron expression over a year, for the test beside it.

year.py ZONE YEAR MINUTES HOURS WEEKDAYS: lists of numbers, weekdays from 0 (Sunday). Prints seconds since 1970.
It takes every local time there is on paper: one that comes twice counts at the first, one that does not
exist at the moment the clocks go forward.
"""
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

zone, year = ZoneInfo(sys.argv[1]), int(sys.argv[2])
minutes, hours, weekdays = ({int(n) for n in text.split(",")} for text in sys.argv[3:6])


def moment(local):
    at = local.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
    if at.astimezone(zone).replace(tzinfo=None) == local:
        return int(at.timestamp())
    before, after = at - timedelta(hours=26), at + timedelta(hours=26)
    offset = lambda t: t.astimezone(zone).utcoffset()
    old = offset(before)
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        before, after = (middle, after) if offset(middle) == old else (before, middle)
    return int(after.timestamp())


due = set()
day = datetime(year, 1, 1)
while day.year == year:
    if (day.weekday() + 1) % 7 in weekdays:
        due.update(moment(day.replace(hour=hour, minute=minute)) for hour in hours for minute in minutes)
    day += timedelta(days=1)
print("\n".join(map(str, sorted(due))))

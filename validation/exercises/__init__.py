"""Exercises of the course: functions that a student writes, held against the audit's oracles."""

"""Scheduler: notebooks run by the trading calendar, each in a process of its own."""

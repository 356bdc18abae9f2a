"""Webhooks out: what becomes of messages, told to whoever asked for it, until they have taken it.

    sms.callbacks, sms.events → stage.py: queues in a table → deliverer.py: calls → sms.callback-results → stage.py

The stage alone changes the queues; the deliverer only reads them, calls and reports. So a crash between a call and its
report repeats the call, and nothing else.
"""

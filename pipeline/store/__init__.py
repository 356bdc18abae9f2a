"""The read model: one row a message with its latest state, projected from the status topic, and one a movement of
money, projected from the ledger; asked by the gateway.

It can always be read again from the topics (`sms-pipeline read-model rebuild`); the offsets are in it.
"""

"""The read model: one row a message with its latest state, projected from the status topic, and one a movement of
money, projected from the ledger; asked by the gateway.

It can always be rebuilt: delete the database and start, the offsets are in it.
"""

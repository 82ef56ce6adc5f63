"""Web push: notifications on devices of operators, also while no page of the portal is open.

Pushes are not deliveries of ``bridge.outbox``: they expire after a few minutes, may be lost, and need no order
and no dead letters. So they are planned from rows that are stored anyway, and a light task sends them. Nothing is done
while no browser is subscribed.
"""

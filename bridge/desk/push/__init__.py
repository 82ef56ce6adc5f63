"""Web push: notifications on devices of operators, also while no page of the portal is open.

Pushes are not deliveries of ``bridge.outbox``: they are worth nothing after a few minutes, need no order, no dead
letters and nobody's decision, and a lost one harms nobody. So they are planned from what was stored anyway, and a light
task sends them. Nothing is done while no browser is subscribed.
"""

"""The way of a message: one package per step, data flows one way.

    1 intake         authenticate raw requests, store them, answer
    2 inbox          stored events -> facts, in batches, exactly once
    3 conversations  contact, conversation, request, message; the service window opens or is prolonged
    4 relay          decide: send as text, as template, hold, or refuse with a notice; record why
    5 outbox         claim due deliveries, send them, record each attempt, plan the retry

A client's message enters at 1 and goes 2 -> 3 and, for those who track it, 5 (``fanout`` says who). An operator's reply
enters at 3 (desk, API) or at 1 (outside helpdesk) and goes 4 -> 5.

``service_window`` decides the 24-hour rule, ``outcomes`` holds every sentence about what was not sent, ``wakeups``
notifies the workers. docs/architecture.md describes the other packages.
"""

"""Step 5: send deliveries to messengers, event receivers and helpdesks by one engine.

`claims` moves a due delivery from pending to sending, `dispatcher` lets its calls run, and `results` moves it on. What
differs between the kinds of destination is a policy in `destinations`.
"""

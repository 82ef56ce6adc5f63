"""The helpdesk side where the helpdesk is not our own: told of what clients say, followed in what operators do.

``telling`` queues and ``sending`` hands over (stations 4 and 5 towards the helpdesk); ``incoming`` reads its webhook
(station 2) by the rule in ``identity``, ``mirroring`` follows its requests, ``notes`` speaks to its operators.
"""

"""From the outbox to whoever listens: nothing lost, nothing twice, one order for all.

cursor.py        a place in the log, as clients hold it
epoch.py         which log a database holds, once it was restored or copied
filter.py        which events a stream lets through
relay.py         moves events from the outbox to their place in the log; one leader in the fleet
log.py           reads the log: pages of it, and its tail as it grows
hub.py           feeds subscribers, each event rendered once for all who ask the same
"""

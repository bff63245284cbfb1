"""From the outbox to whoever listens: nothing lost, nothing twice, one order for all.

cursor.py        a place in the log, as clients hold it
epoch.py         which log a database holds, once it was restored or copied
filter.py        which events a stream lets through
relay.py         moves events from the outbox to their place in the log; one leader in the fleet
log.py           reads the log: pages of it, and its tail as it grows
stream.py        what one filter lets through, rendered once for all who are up to date
hub.py           feeds subscribers: by a stream while they are up to date, from the log otherwise
"""

"""What other systems post about alerts, read into one shape.

incoming.py      that shape: an alert, or why there is none
kept.py          labels, texts and times as far as they can be kept
bodies.py        JSON, also where it is not quite JSON that Postgres could hold
alertmanager.py  Alertmanager's webhook, version 4, and Grafana's, which is made after it
pagerduty.py     PagerDuty's Events API, version 2
cloud_events.py  CloudEvents 1.0, structured, batched and binary
generic.py       any JSON, by a documented mapping
"""

"""A small shop that can be broken on purpose: six services with metrics, traces and logs, a customer, and faults.

`python -m deploy.demo_shop --help` tells how to run and break it. The services are declared in `services.py`, what can
go wrong in `faults.py`; `shop.py` puts them together.
"""

"""GraphQL selections compiled into one SQL statement that returns finished JSON.

sources.py     what stands behind a field: a column, an object of another row, a list, a page
selection.py   which fields an operation asks for, merged as the specification says
arguments.py   what was given to a field, and where it comes from on the next request
parameters.py  values bound to a statement
json_text.py   JSON made by concatenation in Postgres
statement.py   selection → SQL
pages.py       Relay connections with keyset cursors
cursors.py     places in an order, as opaque text
variables.py   coercion and shape of an operation's variables
documents.py   documents parsed, validated and compiled once
catalog.py     sources held against the database's catalog at start-up
"""

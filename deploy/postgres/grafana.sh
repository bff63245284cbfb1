#!/bin/sh
# Runs once, when the database is made: an account for Grafana that can read and nothing else.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set password="$(cat /run/secrets/grafana_database_password)" <<'SQL'
create role grafana login password :'password' connection limit 10;
alter role grafana set default_transaction_read_only = on;
alter role grafana set statement_timeout = '10s';
grant pg_read_all_data to grafana;
SQL

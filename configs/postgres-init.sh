# Run once, by the entry point of the PostgreSQL image, when the database is made (sourced, not
# executed). Dashboards get a role that can read and nothing else: the owner's role is a superuser.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=password="$DASHBOARDS_DB_PASSWORD" \
  --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
CREATE ROLE dashboards LOGIN PASSWORD :'password' CONNECTION LIMIT 10;
GRANT pg_read_all_data TO dashboards;
ALTER ROLE dashboards SET default_transaction_read_only = on;
ALTER ROLE dashboards SET statement_timeout = '10s';
SQL

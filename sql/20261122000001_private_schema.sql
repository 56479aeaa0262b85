-- What the daemon keeps for itself lives in `private`, a schema that the API does not expose.
-- Locks: none on existing objects.
create schema if not exists private;

revoke all on schema private from public, anon, authenticated;
grant usage on schema private to service_role;
-- Triggers that run as the user call helpers there; without usage they could not. Tables stay closed.
grant usage on schema private to anon, authenticated;

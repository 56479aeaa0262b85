-- What the daemon keeps for itself lives in `private`, a schema that the API does not expose. Users need nothing in it:
-- the triggers that act for them are `security definer`, and firing a trigger takes no privilege on its function.
-- Locks: none on existing objects; a schema of that name that is there already keeps its grants.
create schema if not exists private;

grant usage on schema private to service_role;

-- A deleted connection cancels its messages.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists idx_scheduled_messages_connection_id
on public.scheduled_messages (connection_id);

-- What is due, and nothing else.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists scheduled_messages_due_idx
on public.scheduled_messages (due_at, id)
where due_at is not null;

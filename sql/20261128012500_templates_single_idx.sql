-- What uses a template. Never a status in it: what becomes of a message later touches no index.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists scheduled_messages_template_id_idx
on public.scheduled_messages (template_id) where template_id is not null;

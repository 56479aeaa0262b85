-- What is pending, by whose it is (private.rows_of_others). The condition is one that no other
-- query states: whatever the statistics say, none of them takes this index for the one of what is
-- due.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists scheduled_messages_payer_idx
on public.scheduled_messages (
    md5(coalesce(owner_id::text, connection_id) || repeat('*', priority)), due_at, id
)
where due_at > '-infinity';

-- What the database said of a row may repeat what stands in it. That goes with the row, and with
-- what an edit replaces; and an edited row need not wait for its next try.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.forget_refusals()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- What was sent is told to a row that is still there, whatever became of it.
    delete from private.refused_rows as r
    where r.id = any (array[old.id, old.broadcast_job_id])
        and (r.step in ('enqueue', 'claim', 'tend') or (r.step = 'settle' and tg_op = 'DELETE'));
    update private.refused_rows as r
    set reason = 'its message was deleted or edited meanwhile'
    where r.id = any (array[old.broadcast_job_id]);
    return null;
end
$$;
revoke all on function private.forget_refusals() from public;

create or replace trigger forget_refusals_deleted after delete on public.scheduled_messages
for each row execute function private.forget_refusals();
create or replace trigger forget_refusals_edited after update on public.scheduled_messages
for each row when (old.revision <> new.revision and new.status = 'pending')
execute function private.forget_refusals();

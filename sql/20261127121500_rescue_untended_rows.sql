-- Rows that somebody else has written as `processing`: by hand, from a copy of one table, as a
-- replica. The daemon makes a row `processing` with a job, and that is in somebody's hands until it
-- is over; of these nobody may know anything, so they would stay so for ever. They are noted when
-- they are written, also where triggers are off for a restore (`enable always`), and a minute later
-- the rescue asks what their jobs say. What is written with `disable trigger` leaves no note: the
-- doctor finds it, and note_untended() makes up for it.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.note_row()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    insert into private.refused_rows as r (step, id, code, reason, again_at)
    values (
        'tend', new.id, '', 'it was written as processing by somebody else than the daemon',
        now() + interval '1 minute'
    )
    on conflict (id, step) do update set again_at = excluded.again_at;
    return null;
end
$$;
revoke all on function private.note_row() from public;

create or replace trigger note_inserted after insert on public.scheduled_messages
for each row when (new.status = 'processing')
execute function private.note_row();

-- Not the daemon's own step, from `pending` to a job.
create or replace trigger note_updated after update on public.scheduled_messages
for each row when (
    new.status = 'processing'
    and (old.status, old.broadcast_job_id) is distinct from (new.status, new.broadcast_job_id)
    and (old.status <> 'pending' or new.broadcast_job_id is null)
)
execute function private.note_row();
alter table public.scheduled_messages enable always trigger note_inserted;
alter table public.scheduled_messages enable always trigger note_updated;

-- What is known of these rows' jobs decides; of what nobody knows, the row says just that.
create or replace function private.tend_rows(p_ids uuid[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_row record;
begin
    for v_row in
        select s.id, s.broadcast_job_id, j.status, m.status as told,
            coalesce(j.status not in ('completed', 'failed', 'cancelled', 'unconfirmed'), false)
                as is_live
        from (
            select w.id, w.broadcast_job_id from public.scheduled_messages as w
            where w.id = any(p_ids) and w.status = 'processing'
            order by w.id for no key update
        ) as s
        left join lateral (
            select b.status from public.broadcast_jobs as b where b.id = s.broadcast_job_id limit 1
        ) as j on true
        left join lateral (
            select b.status from public.broadcast_messages as b
            where b.job_id = s.broadcast_job_id and b.scheduled_message_id = s.id limit 1
        ) as m on true
    loop
        if v_row.is_live and v_row.told is not null then
            continue;
        elsif v_row.is_live then
            perform private.lose_job(
                v_row.id, v_row.broadcast_job_id, v_row.status,
                'its entry in broadcast_messages was lost'
            );
        elsif v_row.told in ('sent', 'failed', 'skipped', 'unconfirmed') then
            update public.broadcast_messages as m set updated_at = now()
            where m.job_id = v_row.broadcast_job_id;
        else
            update public.scheduled_messages as s
            set status = 'unconfirmed', waiting_reason = null, waiting_until = null,
                updated_at = now(),
                error = 'It may have been sent: it was written as being sent by somebody else than '
                    'the daemon, or its job is lost.'
            where s.id = v_row.id and s.status = 'processing';
        end if;
    end loop;
    return '[]';
end
$$;

-- The rows that are `processing` and have no job at work. Reads the whole table.
create or replace function private.find_untended()
returns setof uuid
language sql
stable
set search_path = ''
as $$
    select s.id
    from public.scheduled_messages as s
    left join public.broadcast_jobs as j on j.id = s.broadcast_job_id
    where s.status = 'processing'
        and (j.status is null or j.status in ('completed', 'failed', 'cancelled', 'unconfirmed'))
        -- Known, and put aside until the row takes it; or noted.
        and not exists (
            select from private.refused_rows as r
            where (r.id = s.id and r.step = 'tend') or (r.id = j.id and r.step = 'settle')
        )
$$;

-- For an operator. Returns how many there were.
create or replace function private.note_untended()
returns integer
language sql
volatile
set search_path = ''
as $$
    with noted as (
        insert into private.refused_rows as r (step, id, code, reason, again_at)
        select 'tend', f.id, '', 'it is processing, and no job is at work on it', now()
        from private.find_untended() as f (id)
        on conflict (id, step) do nothing
        returning r.id
    )
    select count(*)::integer from noted
$$;
revoke all on function private.tend_rows(uuid[]), private.find_untended(), private.note_untended()
from public;
grant execute on function private.tend_rows(uuid[]), private.find_untended(),
private.note_untended() to service_role;

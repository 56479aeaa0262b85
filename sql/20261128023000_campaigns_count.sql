-- What became of a run's messages, counted in the transactions in which it becomes so. The core
-- knows nothing of it.
-- Locks: `create trigger` on scheduled_messages takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.counted_as(p_status text)
returns text
language sql
immutable
set search_path = ''
as $$
    select case
        when p_status in ('sent', 'failed', 'unconfirmed', 'cancelled') then p_status
        else 'pending'
    end
$$;
revoke all on function private.counted_as from public;
grant execute on function private.counted_as to service_role;

-- What a run is called when nothing of it is pending: `unconfirmed` counts as over, and is
-- corrected later.
create or replace function private.run_state(p_run public.campaign_runs)
returns text
language sql
immutable
set search_path = ''
as $$
    select case
        when p_run.sent = p_run.total - p_run.skipped then 'completed'
        when p_run.sent > 0 then 'partial'
        when p_run.failed > 0 then 'failed'
        when p_run.cancelled = p_run.total - p_run.skipped then 'cancelled'
        else 'partial'
    end
$$;
revoke all on function private.run_state from public;
grant execute on function private.run_state to service_role;

-- A run that is over is called what its counts say, also when a late answer corrects them; one that
-- was cancelled stays so. One of which something is pending again is open again.
create or replace function private.name_run_state()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if new.pending > 0 then
        new.status := 'processing';
        new.finished_at := null;
    elsif old.status <> 'cancelled' then
        new.status := private.run_state(new);
    end if;
    return new;
end
$$;
revoke all on function private.name_run_state from public;

create or replace trigger name_run_state before update on public.campaign_runs
for each row when (
    old.finished_at is not null
    and new.finished_at is not null
    and (old.pending, old.sent, old.failed, old.unconfirmed, old.cancelled)
    is distinct from (new.pending, new.sent, new.failed, new.unconfirmed, new.cancelled)
)
execute function private.name_run_state();

-- Adds what was put down to the runs that nobody is counting at this moment; waits for nobody, so
-- no order of locks matters. A run that was over is called what it now is, or is open again where
-- something is pending.
create or replace function private.fold_tallies(p_runs uuid[])
returns void
language sql
volatile
set search_path = ''
as $$
    with free as materialized (
        select run.id
        from public.campaign_runs as run
        where run.id = any(p_runs)
        order by run.id
        for no key update skip locked
    ),
    taken as (
        delete from private.run_tallies as tally
        using free
        where tally.run_id = free.id
        returning tally.*
    ),
    folded as (
        select
            taken.run_id,
            sum(taken.pending)::integer as pending,
            sum(taken.sent)::integer as sent,
            sum(taken.failed)::integer as failed,
            sum(taken.unconfirmed)::integer as unconfirmed,
            sum(taken.skipped)::integer as skipped,
            sum(taken.cancelled)::integer as cancelled,
            sum(taken.delivered)::integer as delivered,
            sum(taken.read)::integer as read
        from taken
        group by taken.run_id
    ),
    counted as (
        update public.campaign_runs as run
        set
            pending = run.pending + folded.pending,
            sent = run.sent + folded.sent,
            failed = run.failed + folded.failed,
            unconfirmed = run.unconfirmed + folded.unconfirmed,
            skipped = run.skipped + folded.skipped,
            cancelled = run.cancelled + folded.cancelled,
            delivered = run.delivered + folded.delivered,
            read = run.read + folded.read
        from folded
        where run.id = folded.run_id
        returning run.*
    )
    select
$$;
revoke all on function private.fold_tallies from public;
grant execute on function private.fold_tallies to service_role;

-- After each statement that changed messages: the differences, by run, put down and added up at
-- once where nobody else is at it. A try counts only while there is no later one; there is none in
-- a run of which nobody had anything tried again. Without nested loops: PostgreSQL takes old and
-- new rows to be as many as they were when it first met the function, once one.
create or replace function private.count_outcomes()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off
as $$
declare
    v_of uuid[];
    v_retried uuid[];
    v_runs uuid[];
begin
    -- What is enqueued counts as it did, and costs no more than to see that.
    select array_agg(distinct m.source_id) into v_of
    from (
        select new_row.source_id, new_row.status, new_row.delivery_status
        from new_messages as new_row
        union all
        select old_row.source_id, old_row.status, old_row.delivery_status
        from old_messages as old_row
    ) as m
    where m.source_id is not null
        and (m.status not in ('pending', 'processing') or m.delivery_status is not null);
    if v_of is null then
        return null;
    end if;
    -- Whoever has messages tried again holds their rows, and says so of their run in the same
    -- transaction: what is changed here cannot be one of them unless that is to be seen.
    v_retried := array(
        select run.id
        from public.campaign_runs as run
        where run.id = any(v_of) and run.retried_at is not null
    );
    with changed as materialized (
        select
            new_row.source_id,
            private.counted_as(old_row.status) as was,
            private.counted_as(new_row.status) as is_now,
            coalesce(old_row.delivery_status in ('delivered', 'read'), false) as was_delivered,
            coalesce(new_row.delivery_status in ('delivered', 'read'), false) as is_delivered,
            coalesce(old_row.delivery_status = 'read', false) as was_read,
            coalesce(new_row.delivery_status = 'read', false) as is_read
        from new_messages as new_row
        join old_messages as old_row on old_row.id = new_row.id
        where new_row.source_id is not null
            and (new_row.status, new_row.delivery_status) is distinct
                from (old_row.status, old_row.delivery_status)
            -- Before its tries are looked for.
            and not (
                old_row.status in ('pending', 'processing')
                and new_row.status in ('pending', 'processing')
                and new_row.delivery_status is not distinct from old_row.delivery_status
            )
            and (
                new_row.source_id <> all(v_retried)
                or new_row.source_try = (
                    select max(latest.source_try)
                    from public.scheduled_messages as latest
                    where latest.source_id = new_row.source_id
                        and latest.source_position = new_row.source_position
                )
                -- Who waits for another try is pending, whatever becomes of the one before.
                and (
                    select recipient.next_try
                    from public.campaign_recipients as recipient
                    where recipient.run_id = new_row.source_id
                        and recipient.position = new_row.source_position
                ) is null
            )
    ),
    put_down as (
        insert into private.run_tallies as tally (
            run_id, pending, sent, failed, unconfirmed, skipped, cancelled, delivered, read
        )
        select
            changed.source_id,
            sum((changed.is_now = 'pending')::integer - (changed.was = 'pending')::integer),
            sum((changed.is_now = 'sent')::integer - (changed.was = 'sent')::integer),
            sum((changed.is_now = 'failed')::integer - (changed.was = 'failed')::integer),
            sum((changed.is_now = 'unconfirmed')::integer - (changed.was = 'unconfirmed')::integer),
            0,
            sum((changed.is_now = 'cancelled')::integer - (changed.was = 'cancelled')::integer),
            sum(changed.is_delivered::integer - changed.was_delivered::integer),
            sum(changed.is_read::integer - changed.was_read::integer)
        from changed
        where (select true from public.campaign_runs as run where run.id = changed.source_id)
        group by changed.source_id
        having bool_or(
            changed.is_now <> changed.was or changed.is_delivered <> changed.was_delivered
            or changed.is_read <> changed.was_read
        )
        returning tally.run_id
    )
    select array_agg(put_down.run_id) into v_runs from put_down;
    if v_runs is not null then
        perform private.fold_tallies(v_runs);
    end if;
    return null;
end
$$;
revoke all on function private.count_outcomes from public;

create or replace trigger count_outcomes after update on public.scheduled_messages
referencing old table as old_messages new table as new_messages
for each statement execute function private.count_outcomes();

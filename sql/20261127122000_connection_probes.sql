-- A connection that its gateway stopped is looked at again by one daemon at a time, at growing
-- intervals, until it is back. The rows that wait are told of each new one, hence `ready_at`.
-- docs/adr/0019-a-refusal-is-judged-by-what-follows.md says why a probe alone does not decide.

-- When the next connection is to be looked at, but for those: null when none is paused.
create or replace function private.next_probe(p_but text[] default '{}')
returns timestamptz
language sql
stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select min(first.probe_at)
    from (
        select state.probe_at
        from private.connection_state as state
        where state.probe_at is not null and state.connection_id <> all(p_but)
        order by state.probe_at
        limit 1
    ) as first
$$;

-- Up to p_seats connections (a thousand at most) whose turn it is: of each owner the one that has
-- waited longest, then the second of each, and so on, so that nobody's many make another's one
-- wait. `probes`: connection_id, gateway, sender, reason and probe_at, which is when it is looked
-- at next, should this fail or never be told of; null where there are none.
create or replace function public.take_probes(p_seats integer default 100)
returns table (db_now timestamptz, next_probe_at timestamptz, probes json)
language sql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    -- Those that have waited longest; no more than a call can read.
    with due as materialized (
        select state.connection_id, state.probe_at
        from private.connection_state as state
        where state.probe_at <= now()
        order by state.probe_at
        limit 2000
    ),
    -- Each one's place among its owner's.
    ranked as (
        select
            due.connection_id,
            due.probe_at,
            row_number() over (
                partition by private.owner_by_id(due.connection_id)
                order by due.probe_at
            ) as place
        from due
    ),
    -- The first of everybody, then the second; what another daemon has, it keeps.
    chosen as materialized (
        select held.connection_id
        from (
            select ranked.connection_id
            from ranked
            order by ranked.place, ranked.probe_at
            limit least(p_seats, 1000)
        ) as next
        cross join lateral (
            select state.connection_id
            from private.connection_state as state
            where state.connection_id = next.connection_id and state.probe_at <= now()
            limit 1
            for update skip locked
        ) as held
    ),
    taken as (
        update private.connection_state as state
        set failed_probes = state.failed_probes + 1,
            probe_at = now() + private.probe_delay(state.failed_probes + 1),
            ready_at = now()
        from chosen
        left join public.connection_settings as settings
            on settings.connection_id = any(array[chosen.connection_id])
        where state.connection_id = any(array[chosen.connection_id])
        returning
            state.connection_id,
            settings.gateway,
            settings.sender,
            state.paused_reason as reason,
            state.probe_at
    )
    select
        clock_timestamp() as db_now,
        least(
            private.next_probe(array(select taken.connection_id from taken)),
            (select min(taken.probe_at) from taken)
        ) as next_probe_at,
        (select json_agg(taken) from taken) as probes
$$;

-- What the probes said. An ill connection stays paused, and whatever stopped it was right: it keeps
-- its place. A well one goes on, and the messages that stopped it are judged, unless somebody holds
-- them: then they are tried once more.
--   * One that had stopped it before, and others got through since, is itself at fault, and fails.
--   * Any other is put behind those that wait, and later each time. Once two have been refused
--     without one getting through between, the connection stays paused, and one message is tried
--     after each further probe.
-- What somebody holds is left as it is, and looked at again. Where the project refuses to have a
-- message judged (`judges` is false), its connection goes on without a judgement.
drop type if exists private.probed_row cascade;
create type private.probed_row as (connection_id text, is_well boolean, judges boolean);

create or replace function private.finish_rows(p_rows private.probed_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_free constant text[] := array(
        select state.connection_id
        from private.connection_state as state
        where state.connection_id = any(
            array(select given.connection_id from unnest(p_rows) as given)
        )
        order by state.connection_id
        for update skip locked
    );
    v_well constant text[] := array(
        select given.connection_id
        from unnest(p_rows) as given
        where given.is_well and given.connection_id = any(v_free)
    );
    v_judged constant text[] := array(
        select given.connection_id
        from unnest(p_rows) as given
        where given.judges and given.connection_id = any(v_well)
    );
begin
    -- The ill ones.
    update private.connection_state as state
    set stopped_ids = '{}',
        refused_ids = '{}',
        is_on_trial = false
    where state.connection_id = any(v_free)
        and state.connection_id <> all(v_well)
        and state.paused_reason is not null;

    -- The messages that stopped a well one, with their rows and messages held.
    with judged as materialized (
        select
            state.connection_id,
            job.id,
            job.scheduled_message_id,
            job.refusal,
            job.refusals,
            coalesce(state.through_at > job.refused_at, false) as is_guilty
        from private.connection_state as state
        cross join unnest(state.stopped_ids) as stopped (id)
        cross join lateral (
            select
                j.id,
                j.scheduled_message_id,
                j.refusal,
                j.refused_at,
                j.refusals
            from public.broadcast_jobs as j
            where j.id = stopped.id
                and j.connection_id = state.connection_id
                and j.status = 'queued'
            limit 1
            for update skip locked
        ) as job
        cross join lateral (
            select from public.scheduled_messages as s
            where s.id = job.scheduled_message_id and s.broadcast_job_id = job.id
            limit 1
            for no key update skip locked
        ) as scheduled
        -- As settle_rows and a webhook would wait for it.
        cross join lateral (
            select from public.broadcast_messages as m
            where m.job_id = job.id
            limit 1
            for update skip locked
        ) as message
        where state.connection_id = any(v_judged) and state.paused_reason is not null
    ),
    -- What is itself at fault fails, and its row through its message.
    failed as (
        update public.broadcast_jobs as j
        set status = 'failed',
            failed_count = 1,
            progress = 100,
            completed_at = now(),
            updated_at = now()
        from judged
        where j.id = any(array[judged.id]) and judged.is_guilty
    ),
    told_failed as (
        update public.broadcast_messages as m
        set status = 'failed',
            updated_at = now(),
            error = judged.refusal || '. But the connection is well, and others got through on it '
                || 'since this message was first refused: it is this message that the gateway does '
                || 'not take.'
        from judged
        where m.job_id = any(array[judged.id]) and judged.is_guilty
    ),
    -- Any other is tried behind those that wait.
    put_behind as (
        update public.broadcast_jobs as j
        set available_at = now() + case
                when judged.refusals > 0 then private.probe_delay(judged.refusals)
                else interval '0'
            end,
            refusals = judged.refusals + 1,
            refused_at = now(),
            updated_at = now()
        from judged
        where j.id = any(array[judged.id]) and not judged.is_guilty
        returning j.id, j.scheduled_message_id, j.available_at, judged.refusal
    ),
    told_why as (
        update public.scheduled_messages as s
        set waiting_reason = left(put_behind.refusal, 400)
                || '. But the connection seems well: the others go first, then this is tried again',
            waiting_until = put_behind.available_at,
            updated_at = now()
        from put_behind
        where s.id = any(array[put_behind.scheduled_message_id])
    ),
    -- The rows that a well connection refused, one after the other, since one got through.
    heard as (
        select
            state.connection_id,
            refused.ids as refused_ids,
            cardinality(refused.ids) > 1 as is_doubted,
            latest.refusal
        from private.connection_state as state
        cross join lateral (
            select array(
                select judged.scheduled_message_id
                from judged
                where judged.connection_id = state.connection_id and not judged.is_guilty
                union
                select unnest(state.refused_ids[:10])
            ) as ids
        ) as refused
        left join lateral (
            select judged.refusal
            from judged
            where judged.connection_id = state.connection_id and not judged.is_guilty
            limit 1
        ) as latest on true
        where state.connection_id = any(v_well) and state.paused_reason is not null
    )
    update private.connection_state as state
    set paused_reason = case
            when heard.is_doubted and cardinality(state.refused_ids) < 2 then
                left(coalesce(heard.refusal, state.paused_reason), 300)
                || '. Two messages in a row were refused so, though the gateway calls the '
                || 'connection well: one at a time is tried until one gets through'
            when heard.is_doubted then state.paused_reason
        end,
        probe_at = case when heard.is_doubted then state.probe_at end,
        failed_probes = case when heard.is_doubted then state.failed_probes else 0 end,
        is_on_trial = heard.is_doubted and cardinality(state.refused_ids) > 1,
        stopped_ids = '{}',
        refused_ids = heard.refused_ids,
        resumed_at = now(),
        ready_at = now()
    from heard
    where state.connection_id = any(array[heard.connection_id]);
    return '[]';
end
$$;
revoke all on function private.finish_rows from public;
grant execute on function private.finish_rows to service_role;

-- Returns the connections that go on; null where there are none.
create or replace function public.finish_probes(p_well text[], p_ill text[])
returns table (db_now timestamptz, next_probe_at timestamptz, back json)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_rows private.probed_row[] := array(
        select row(
            given.connection_id, given.connection_id = any(p_well), true
        )::private.probed_row
        from unnest(p_well || p_ill) as given (connection_id)
        order by given.connection_id
    );
    v_refused jsonb;
begin
    v_refused := (select t.refused from private.try_rows('finish_rows', v_rows, false) as t);
    if v_refused <> '[]' then
        v_rows := array(
            select row(
                (v_rows[refused.place]).connection_id, (v_rows[refused.place]).is_well, false
            )::private.probed_row
            from jsonb_to_recordset(v_refused) as refused (place integer)
        );
        perform private.try_rows('finish_rows', v_rows, false);
    end if;
    return query
    select
        clock_timestamp(),
        private.next_probe(),
        (
            select json_agg(state.connection_id)
            from private.connection_state as state
            where state.connection_id = any(p_well) and state.paused_reason is null
        );
end
$$;
revoke all on function private.next_probe, public.take_probes(integer),
public.finish_probes(text[], text[]) from public, anon, authenticated;
grant execute on function private.next_probe, public.take_probes(integer),
public.finish_probes(text[], text[]) to service_role;

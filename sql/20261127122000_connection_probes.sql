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
    select min(d.probe_at) from (
        select c.probe_at from private.connection_state as c
        where c.probe_at is not null and c.connection_id <> all(p_but) order by c.probe_at limit 1
    ) as d
$$;

-- Up to p_seats connections whose turn it is: of each owner the one that has waited longest, then
-- the second of each, and so on, so that nobody's many make another's one wait. `probes`:
-- connection_id, gateway, sender, reason and probe_at, which is when it is looked at next, should
-- this fail or never be told of; null where there are none.
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
    with due as materialized (
        select d.connection_id, d.probe_at from private.connection_state as d
        where d.probe_at <= now() order by d.probe_at limit 2000
    ),
    ranked as (
        select d.connection_id, d.probe_at,
            row_number() over (partition by private.owner_of(co.*) order by d.probe_at) as place
        from due as d
        left join public.connections as co on co.id::text = any(array[d.connection_id])
    ),
    chosen as materialized (
        select st.connection_id
        from (select r.connection_id from ranked as r order by r.place, r.probe_at limit least(p_seats, 1000)) as r
        cross join lateral (
            select c.connection_id from private.connection_state as c
            where c.connection_id = r.connection_id and c.probe_at <= now() limit 1 for update skip locked
        ) as st
    ),
    taken as (
        update private.connection_state as c
        set failed_probes = c.failed_probes + 1,
            probe_at = now() + private.probe_delay(c.failed_probes + 1),
            ready_at = now()
        from chosen
        left join public.connection_settings as se on se.connection_id = any(array[chosen.connection_id])
        where c.connection_id = any(array[chosen.connection_id])
        returning c.connection_id, se.gateway, se.sender, c.paused_reason as reason, c.probe_at
    )
    select clock_timestamp(),
        least(private.next_probe(array(select t.connection_id from taken as t)), (select min(t.probe_at) from taken as t)),
        (select json_agg(taken) from taken)
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
        select c.connection_id from private.connection_state as c
        where c.connection_id = any(array(select g.connection_id from unnest(p_rows) as g))
        order by c.connection_id for update skip locked
    );
    v_well constant text[] := array(
        select g.connection_id from unnest(p_rows) as g
        where g.is_well and g.connection_id = any(v_free)
    );
    v_judged constant text[] := array(
        select g.connection_id from unnest(p_rows) as g
        where g.judges and g.connection_id = any(v_well)
    );
begin
    update private.connection_state as c
    set stopped_ids = '{}', refused_ids = '{}', is_on_trial = false
    where c.connection_id = any(v_free) and c.connection_id <> all(v_well)
        and c.paused_reason is not null;

    with judged as materialized (
        select c.connection_id, j.id, j.scheduled_message_id, j.refusal, j.refusals,
            coalesce(c.through_at > j.refused_at, false) as is_guilty
        from private.connection_state as c
        cross join unnest(c.stopped_ids) as stopped (id)
        cross join lateral (
            select w.id, w.scheduled_message_id, w.refusal, w.refused_at, w.refusals from public.broadcast_jobs as w
            where w.id = stopped.id and w.connection_id = c.connection_id and w.status = 'queued'
            limit 1 for update skip locked
        ) as j
        cross join lateral (
            select from public.scheduled_messages as r
            where r.id = j.scheduled_message_id and r.broadcast_job_id = j.id limit 1 for no key update skip locked
        ) as s
        -- As settle_rows and a webhook would wait for it.
        cross join lateral (
            select from public.broadcast_messages as m
            where m.job_id = j.id limit 1 for update skip locked
        ) as m
        where c.connection_id = any(v_judged) and c.paused_reason is not null
    ),
    failed as (
        update public.broadcast_jobs as j
        set status = 'failed', failed_count = 1, progress = 100, completed_at = now(), updated_at = now()
        from judged as g
        where j.id = any(array[g.id]) and g.is_guilty
    ),
    told_failed as (
        update public.broadcast_messages as m
        set status = 'failed', updated_at = now(),
            error = g.refusal || '. But the connection is well, and others got through on it since this message was '
                || 'first refused: it is this message that the gateway does not take.'
        from judged as g
        where m.job_id = any(array[g.id]) and g.is_guilty
    ),
    put_behind as (
        update public.broadcast_jobs as j
        set available_at = now() + case when g.refusals > 0 then private.probe_delay(g.refusals) else interval '0' end,
            refusals = g.refusals + 1, refused_at = now(), updated_at = now()
        from judged as g
        where j.id = any(array[g.id]) and not g.is_guilty
        returning j.id, j.scheduled_message_id, j.available_at, g.refusal
    ),
    told_why as (
        update public.scheduled_messages as s
        set waiting_reason = left(p.refusal, 400)
                || '. But the connection seems well: the others go first, then this is tried again',
            waiting_until = p.available_at, updated_at = now()
        from put_behind as p
        where s.id = any(array[p.scheduled_message_id])
    )
    update private.connection_state as c
    set paused_reason = case
            when h.is_doubted and cardinality(c.refused_ids) < 2 then
                left(coalesce(h.refusal, c.paused_reason), 300) || '. Two messages in a row were refused so, though the gateway '
                || 'calls the connection well: one at a time is tried until one gets through'
            when h.is_doubted then c.paused_reason
        end,
        probe_at = case when h.is_doubted then c.probe_at end,
        failed_probes = case when h.is_doubted then c.failed_probes else 0 end,
        is_on_trial = h.is_doubted and cardinality(c.refused_ids) > 1,
        stopped_ids = '{}', refused_ids = h.refused_ids, resumed_at = now(), ready_at = now()
    from (
        select st.connection_id, refused.ids as refused_ids, cardinality(refused.ids) > 1 as is_doubted, latest.refusal
        from private.connection_state as st
        cross join lateral (
            select array(
                select g.scheduled_message_id from judged as g where g.connection_id = st.connection_id and not g.is_guilty
                union select unnest(st.refused_ids[:10])
            ) as ids
        ) as refused
        left join lateral (
            select g.refusal from judged as g where g.connection_id = st.connection_id and not g.is_guilty limit 1
        ) as latest on true
        where st.connection_id = any(v_well) and st.paused_reason is not null
    ) as h
    where c.connection_id = any(array[h.connection_id]);
    return '[]';
end
$$;
revoke all on function private.finish_rows from public;
grant execute on function private.finish_rows to service_role;

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
        select row(g.connection_id, g.connection_id = any(p_well), true)::private.probed_row
        from unnest(p_well || p_ill) as g (connection_id) order by g.connection_id
    );
    v_refused jsonb;
begin
    v_refused := (select t.refused from private.try_rows('finish_rows', v_rows, false) as t);
    if v_refused <> '[]' then
        v_rows := array(
            select row(
                (v_rows[r.place]).connection_id, (v_rows[r.place]).is_well, false
            )::private.probed_row
            from jsonb_to_recordset(v_refused) as r (place integer)
        );
        perform private.try_rows('finish_rows', v_rows, false);
    end if;
    return query select clock_timestamp(), private.next_probe(), (
        select json_agg(c.connection_id) from private.connection_state as c
        where c.connection_id = any(p_well) and c.paused_reason is null
    );
end
$$;
revoke all on function public.take_probes(integer), private.next_probe, public.finish_probes(text[], text[])
from public, anon, authenticated;
grant execute on function public.take_probes(integer), private.next_probe, public.finish_probes(text[], text[])
to service_role;

-- Turns due rows into jobs, in one transaction: row to `processing` (or `failed`, with the reason), one job with one
-- recipient and its message, the next occurrence of a series. Only rows that are still pending at the revision that the
-- caller read, whose contact still has the number that it saw: an edit in between wins and the row is read again.
-- Locks: none on existing tables.

-- One row as the daemon has planned it; the fields are the arguments of `enqueue_broadcast_jobs`. `soon`: up to when it may
-- be due. The last three are for a row that the database has refused: its place among the arguments, what has been tried,
-- and why its series ends with it.
drop type if exists private.planned_row cascade;
create type private.planned_row as (
    id uuid, revision integer, job_id uuid, recipient text, error text, timezone text, anchor timestamp, occurrence_at timestamptz,
    missed integer, next_at timestamptz, next_after timestamptz, expires_at timestamptz, phone text, soon timestamptz,
    place integer, stage integer, series_ends text
);

-- The columns of scheduled_messages that are ours; all others are the project's own.
create or replace function private.our_columns()
returns text[]
language sql
immutable
set search_path = ''
as $$
    select array[
        'id', 'connection_id', 'contact_id', 'message', 'type', 'media_url', 'caption', 'media', 'asset_id', 'scheduled_at', 'status',
        'created_at', 'created_by', 'owner_id', 'sent_at', 'message_id', 'error', 'is_recurring', 'recurrence_pattern',
        'recurrence_end_at', 'next_scheduled_at', 'timezone', 'series_id', 'series_anchor', 'occurrence_at', 'missed', 'next_id',
        'broadcast_job_id', 'due_at', 'waiting_reason', 'waiting_until', 'delivery_status', 'revision', 'updated_at',
        'scheduled_in_queue' -- upstream's: whether its queue has the row
    ]
$$;

-- The project's own columns that travel to the next occurrence, null where there are none. Not what numbers or is worked out
-- from others; and of a unique index that would hold the same again, not one column that can do without.
create or replace function private.columns_that_travel()
returns text[]
language sql
stable
set search_path = ''
as $$
    with own as materialized (
        select a.attnum, a.attname::text as name, not a.attnotnull as is_nullable, a.atthasdef as has_default
        from pg_catalog.pg_attribute as a
        left join pg_catalog.pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = 'public.scheduled_messages'::regclass and a.attnum > 0 and not a.attisdropped
            and a.attname <> all(private.our_columns()) and a.attgenerated = '' and a.attidentity = ''
            and coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') !~ 'nextval\('
    )
    select array_agg(o.name order by o.attnum)
    from own as o
    where o.attnum not in (
        select spared.attnum
        from pg_catalog.pg_index as i
        cross join lateral (
            select k.attnum
            from unnest(i.indkey::smallint[]) with ordinality as k (attnum, position)
            join own on own.attnum = k.attnum
            where own.has_default or own.is_nullable
            order by own.has_default desc, k.position desc limit 1
        ) as spared
        where i.indrelid = 'public.scheduled_messages'::regclass and i.indisunique and 0 <> all(i.indkey::smallint[])
            and not exists (
                select 1 from pg_catalog.pg_attribute as a
                where a.attrelid = i.indrelid and a.attnum = any(i.indkey::smallint[])
                    and a.attname in ('id', 'scheduled_at', 'occurrence_at', 'created_at', 'due_at', 'broadcast_job_id', 'message_id')
            )
    )
$$;

-- The next occurrences of these rows, which know by now when those are. Where one exists already, the row names that one.
create or replace function private.add_next(p_rows uuid[], p_next_ids uuid[], p_next_after timestamptz[])
returns void
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_own constant text[] := private.columns_that_travel();
    v_made uuid[];
begin
    if v_own is null then
        with made as (
            insert into public.scheduled_messages (
                id, scheduled_at, next_scheduled_at, connection_id, contact_id, message, type, media_url, caption, media,
                asset_id, created_by, owner_id, is_recurring, recurrence_pattern, recurrence_end_at, timezone, series_id,
                series_anchor, occurrence_at
            )
            select g.next_id, s.next_scheduled_at, g.next_after, s.connection_id, s.contact_id, s.message, s.type,
                s.media_url, s.caption, s.media, s.asset_id, s.created_by, s.owner_id, true, s.recurrence_pattern,
                s.recurrence_end_at, s.timezone, s.series_id, s.series_anchor, s.next_scheduled_at
            from unnest(p_rows, p_next_ids, p_next_after) as g (id, next_id, next_after)
            join public.scheduled_messages as s on s.id = any(array[g.id])
            on conflict (series_id, occurrence_at) where series_id is not null do nothing
            returning id
        )
        select array_agg(m.id) into v_made from made as m;
    else
        execute format(
            'with made as (
                insert into public.scheduled_messages (
                    id, scheduled_at, next_scheduled_at, connection_id, contact_id, message, type, media_url, caption,
                    media, asset_id, created_by, owner_id, is_recurring, recurrence_pattern, recurrence_end_at, timezone,
                    series_id, series_anchor, occurrence_at, %1$s
                )
                select g.next_id, s.next_scheduled_at, g.next_after, s.connection_id, s.contact_id, s.message, s.type,
                    s.media_url, s.caption, s.media, s.asset_id, s.created_by, s.owner_id, true, s.recurrence_pattern,
                    s.recurrence_end_at, s.timezone, s.series_id, s.series_anchor, s.next_scheduled_at, %2$s
                from unnest($1, $2, $3) as g (id, next_id, next_after)
                join public.scheduled_messages as s on s.id = any(array[g.id])
                on conflict (series_id, occurrence_at) where series_id is not null do nothing
                returning id
            )
            select array_agg(m.id) from made as m',
            (select string_agg(format('%I', c.name), ', ') from unnest(v_own) as c (name)),
            (select string_agg(format('s.%I', c.name), ', ') from unnest(v_own) as c (name))
        )
        into v_made using p_rows, p_next_ids, p_next_after;
    end if;

    if coalesce(cardinality(v_made), 0) < cardinality(p_next_ids) then
        update public.scheduled_messages as s
        set next_id = (
            select o.id from public.scheduled_messages as o
            where o.series_id = s.series_id and o.occurrence_at = s.next_scheduled_at limit 1
        )
        where s.id = any(p_rows) and s.next_id = any(p_next_ids) and s.next_id <> all(coalesce(v_made, '{}'));
    end if;
end
$$;
revoke all on function private.our_columns, private.columns_that_travel,
private.add_next from public;
grant execute on function private.our_columns, private.columns_that_travel,
private.add_next to service_role;

-- Returns id, connection (of those that have a job now) and when they are due, of each row that left `pending`.
-- The `lateral … limit 1` finds each row by its key, whatever the statistics say of statuses; so does `enable_seqscan`. And so
-- does `= any (array[…])`, here and in the other calls: a plain `=` may be joined from its other side, the whole table first, as
-- soon as a vacuum has found pages with nobody alive on them and the planner believes that the table is empty.
create or replace function private.enqueue_rows(p_rows private.planned_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_done jsonb;
    v_rows uuid[];
    v_next_ids uuid[];
    v_next_after timestamptz[];
begin
    with won as materialized (
        -- Not `s.*`: a project may have columns of its own by the names that follow.
        select s.id, s.connection_id, s.contact_id, s.message, s.type, s.media_url, s.caption, s.media,
            s.asset_id, s.scheduled_at, s.created_by, s.owner_id, s.is_recurring, s.series_id,
            g.job_id, g.recipient, g.error as refusal, g.series_ends, g.timezone as zone, g.anchor,
            g.occurrence_at as occurrence, g.missed as missed_now, g.next_at, g.next_after, g.expires_at,
            case when g.next_at is not null and s.next_id is null then gen_random_uuid() end as new_id,
            -- A series has an id that nobody can choose. An occurrence that its author has moved to the instant of another one
            -- begins a series of its own.
            case
                when g.anchor is null then s.series_id
                when s.series_id is null or exists (
                    select 1 from public.scheduled_messages as o
                    where o.series_id = any(array[s.series_id]) and o.occurrence_at = any(array[g.occurrence_at]) and o.id <> s.id
                ) then gen_random_uuid()
                else s.series_id
            end as series
        from unnest(p_rows) as g
        cross join lateral (select r.* from public.scheduled_messages as r where r.id = g.id limit 1 for update skip locked) as s
        where s.status = 'pending' and s.revision = g.revision and s.scheduled_at <= g.soon
            -- As look_up_recipients finds it.
            and (g.phone is null or exists (
                select 1
                from (values (null::text, null::text, null::text, null::text)) as missing (phone_number, is_blocked, owner_id, user_id)
                cross join lateral (
                    select left(phone_number::text, 256) as phone, is_blocked::text as is_blocked,
                        coalesce(owner_id::text, user_id::text) as owner
                    from public.contacts as c
                    where c.id = any(array[private.contact_key(s.contact_id)])
                ) as c
                where c.phone = g.phone and not private.is_yes(c.is_blocked)
                    and (c.owner in (s.owner_id::text, s.created_by::text) or (
                        s.owner_id is null and s.created_by is null and exists (
                            select 1
                            from (values (null::text)) as missing (user_id)
                            cross join lateral (
                                select user_id::text as owner from public.connections as k
                                where k.id::text = any(array[s.connection_id])
                            ) as k
                            where k.owner = c.owner
                        )
                    ))
            ))
    ),
    job as (
        insert into public.broadcast_jobs (
            id, scheduled_message_id, series_id, connection_id, recipient, contacts, contact_id, type, message, media_url, caption, media,
            asset_id, user_id, schedule, status, total_contacts, available_at, expires_at, broadcast_name, isprivatemessage
        )
        select w.job_id, w.id, case when w.is_recurring then w.series end, w.connection_id, w.recipient,
            array[w.recipient], w.contact_id, w.type, w.message, w.media_url, w.caption, w.media::text,
            w.asset_id, coalesce(w.owner_id, w.created_by), w.scheduled_at, 'queued', 1, greatest(now(), w.scheduled_at), w.expires_at,
            'scheduled message', true
        from won as w
        where w.refusal is null
    ),
    message as (
        insert into public.broadcast_messages (id, job_id, scheduled_message_id, contact, message, type, media_url, caption, status)
        -- Digits alone, also of a WhatsApp id: by them the Node worker finds the row.
        select w.job_id, w.job_id, w.id, regexp_replace(split_part(w.recipient, '@', 1), '\D', '', 'g'),
            w.message, w.type, w.media_url, w.caption, 'waiting'
        from won as w
        where w.refusal is null
    ),
    -- An earlier occurrence that still waits would go out together with this one. Not a later one: this may be the retry of an
    -- old one; and not when this one fails: then the earlier is all there is.
    superseded as (
        update public.broadcast_jobs as j
        set status = 'cancelled', completed_at = now(), updated_at = now()
        from (
            select e.id from public.broadcast_jobs as e
            join won as w on e.series_id = any(array[w.series_id]) and e.id <> w.job_id
            join public.scheduled_messages as m on m.id = any(array[e.scheduled_message_id]) and m.occurrence_at < w.occurrence
            join public.broadcast_messages as t on t.job_id = any(array[e.id])
            where e.status = 'queued' and w.series = w.series_id and w.refusal is null
                and m.broadcast_job_id = e.id
                and (m.owner_id, m.created_by) is not distinct from (w.owner_id, w.created_by)
            -- The row too: whoever holds it, deleting its connection, say, may be waiting for one of ours.
            for update of e, m, t skip locked
        ) as earlier
        where j.id = any(array[earlier.id])
        returning j.id
    ),
    told as (
        update public.broadcast_messages as m
        set status = 'failed', error = 'Superseded: it still waited when the next occurrence of its series fell due.', updated_at = now()
        from superseded
        where m.job_id = any(array[superseded.id])
    ),
    changed as (
        update public.scheduled_messages as s
        set status = case when w.refusal is null then 'processing' else 'failed' end,
            due_at = null,
            error = coalesce(w.refusal, w.series_ends, case
                when w.is_recurring and w.next_at is null and s.next_id is null
                    then private.why_no_next(s.recurrence_pattern, s.recurrence_end_at)
            end),
            broadcast_job_id = case when w.refusal is null then w.job_id end,
            timezone = coalesce(w.zone, s.timezone),
            series_id = w.series,
            series_anchor = w.anchor,
            occurrence_at = w.occurrence,
            scheduled_at = case when w.missed_now > 0 then w.occurrence else s.scheduled_at end,
            missed = w.missed_now,
            next_id = coalesce(s.next_id, w.new_id),
            next_scheduled_at = w.next_at,
            updated_at = now()
        from won as w
        where s.id = any(array[w.id])
        returning s.id, s.connection_id, s.status, s.scheduled_at
    )
    select jsonb_agg(jsonb_build_array(c.id, case when c.status = 'processing' then c.connection_id end, greatest(now(), c.scheduled_at))),
        (select array_agg(w.id) from won as w where w.new_id is not null),
        (select array_agg(w.new_id) from won as w where w.new_id is not null),
        (select array_agg(w.next_after) from won as w where w.new_id is not null)
    into v_done, v_rows, v_next_ids, v_next_after
    from changed as c;
    if v_rows is not null then
        perform private.add_next(v_rows, v_next_ids, v_next_after);
    end if;
    return v_done;
end
$$;

-- What to try with a row that was refused: it goes out and its series ends; it fails and its series goes on; it fails alone.
-- Null: nothing is left.
create or replace function private.with_less(p_row private.planned_row, p_planned private.planned_row, p_reason text)
returns private.planned_row
language plpgsql
stable
set search_path = ''
as $$
declare
    v_less private.planned_row := p_planned;
begin
    v_less.stage := p_row.stage + 1;
    if v_less.stage = 1 and (p_planned.next_at is null or p_planned.error is not null) then
        v_less.stage := 2;
    end if;
    if v_less.stage = 2 and p_planned.next_at is null then
        v_less.stage := 3;
    end if;
    case v_less.stage
        when 1 then
            v_less.next_at := null;
            v_less.next_after := null;
            v_less.series_ends := 'The series ends with this message, because the database refused the next one: ' || p_reason;
        when 2 then
            v_less.recipient := null;
            v_less.error := coalesce(p_planned.error, 'The database refused to schedule this message: ' || p_reason);
        when 3 then
            v_less := row(p_planned.id, p_planned.revision, p_planned.job_id);
            v_less.missed := 0;
            v_less.soon := p_planned.soon;
            v_less.place := p_planned.place;
            v_less.stage := 3;
            v_less.error := coalesce(p_planned.error, 'The database refused to schedule this message: ' || p_reason);
        else
            return null;
    end case;
    return v_less;
end
$$;

-- p_ahead_seconds, at most one: how long before its instant a row may be taken, so that its job is at hand when the instant
-- comes. Returns the ids of the rows that left `pending`, and what the database refused: [{id, code, reason, became}], where
-- a row became `series ended`, `failed` or `put aside`.
create or replace function public.enqueue_broadcast_jobs(
    p_ids uuid[], p_revisions integer[], p_job_ids uuid[], p_recipients text[], p_errors text[],
    p_timezones text[], p_anchors timestamp[], p_occurrences timestamptz[], p_missed integer[],
    p_next_at timestamptz[], p_next_after timestamptz[], p_expires_at timestamptz[], p_phones text[],
    p_ahead_seconds double precision default 0
)
returns table (enqueued uuid[], refused jsonb)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_variable
declare
    v_planned private.planned_row[];
    v_rows private.planned_row[];
    v_try record;
    v_done jsonb := '[]';
    v_said jsonb := '{}'; -- by place
begin
    select array_agg(
        row(
            g.id, g.revision, g.job_id, g.recipient, g.error, g.timezone, g.anchor, g.occurrence_at, g.missed, g.next_at, g.next_after,
            g.expires_at, g.phone, now() + make_interval(secs => least(1, p_ahead_seconds)), g.place, 0, null
        )::private.planned_row
        order by g.place
    )
    into v_planned
    from (
        select given.*, row_number() over () as place
        from unnest(
            p_ids, p_revisions, p_job_ids, p_recipients, p_errors, p_timezones, p_anchors, p_occurrences, p_missed,
            p_next_at, p_next_after, p_expires_at, p_phones
        ) as given (
            id, revision, job_id, recipient, error, timezone, anchor, occurrence_at, missed, next_at, next_after, expires_at, phone
        )
        where not exists (
            select 1 from private.refused_rows as r where r.id = given.id and r.step = 'enqueue' and r.again_at > now()
        )
    ) as g;
    v_rows := v_planned;

    while v_rows <> '{}' loop
        select t.done, t.refused into v_try from private.try_rows('enqueue_rows', v_rows, true) as t;
        v_done := v_done || v_try.done;
        exit when v_try.refused = '[]';
        -- What is not the row's own fault does not fail: it is put aside.
        with less as (
            select r.code, r.reason, (v_rows[r.place]).place, case
                    when private.is_the_rows_fault(r.code) then private.with_less(v_rows[r.place], v_planned[(v_rows[r.place]).place], r.reason)
                end as next
            from jsonb_to_recordset(v_try.refused) as r (place integer, code text, reason text)
        )
        select coalesce(array_agg(l.next order by l.place) filter (where (l.next).stage is not null), '{}'),
            v_said || jsonb_object_agg(
                l.place, coalesce(v_said -> l.place::text, jsonb_build_object('code', l.code, 'reason', l.reason)) || jsonb_build_object(
                    'id', v_planned[l.place].id,
                    'became', case (l.next).stage when 1 then 'series ended' when 2 then 'failed' when 3 then 'failed' else 'put aside' end
                )
            )
        into v_rows, v_said
        from less as l;
    end loop;

    if v_said <> '{}' then
        perform private.put_aside('enqueue', array_agg(r.id), array_agg(r.code), array_agg(r.reason), null)
        from jsonb_each(v_said) as said
        cross join lateral jsonb_to_record(said.value) as r (id uuid, code text, reason text, became text)
        where r.became = 'put aside';
        refused := (select jsonb_agg(said.value) from jsonb_each(v_said) as said);
    end if;
    -- All at once, and last: see there.
    perform private.announce_work(array_agg(d.row ->> 1), array_agg((d.row ->> 2)::timestamptz))
    from jsonb_array_elements(v_done) as d (row)
    where d.row ->> 1 is not null;
    enqueued := array(select (d.row ->> 0)::uuid from jsonb_array_elements(v_done) as d (row));
    return next;
end
$$;
revoke all on function private.enqueue_rows, private.with_less from public;
grant execute on function private.enqueue_rows, private.with_less to service_role;
revoke all on function public.enqueue_broadcast_jobs(
    uuid[], integer[], uuid[], text[], text[], text[], timestamp[], timestamptz[], integer[], timestamptz[], timestamptz[], timestamptz[],
    text[], double precision
) from public, anon, authenticated;
grant execute on function public.enqueue_broadcast_jobs(
    uuid[], integer[], uuid[], text[], text[], text[], timestamp[], timestamptz[], integer[], timestamptz[], timestamptz[], timestamptz[],
    text[], double precision
) to service_role;

-- The same, and what there are seats for is claimed in the same round trip, a moment before it is due: how a message leaves on
-- its second, however far away the database is.
create or replace function public.enqueue_and_claim_broadcast_jobs(
    p_ids uuid[], p_revisions integer[], p_job_ids uuid[], p_recipients text[], p_errors text[],
    p_timezones text[], p_anchors timestamp[], p_occurrences timestamptz[], p_missed integer[],
    p_next_at timestamptz[], p_next_after timestamptz[], p_expires_at timestamptz[], p_phones text[],
    p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text default 'mock', p_busy text[] default '{}',
    p_lead_seconds double precision default 0.15, p_ahead_seconds double precision default 0,
    p_retry_attempts integer default 3, p_retry_delay_seconds double precision default 60
)
returns table (db_now timestamptz, next_ready_at timestamptz, jobs json, refused jsonb)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
as $$
declare
    v_refused jsonb;
begin
    select e.refused into v_refused
    from public.enqueue_broadcast_jobs(
        p_ids, p_revisions, p_job_ids, p_recipients, p_errors, p_timezones, p_anchors, p_occurrences, p_missed,
        p_next_at, p_next_after, p_expires_at, p_phones, p_ahead_seconds
    ) as e;
    return query
    select c.db_now, c.next_ready_at, c.jobs, v_refused
    from public.claim_broadcast_jobs(
        p_token, p_seats, p_lease_seconds, p_gateway, p_busy, null, p_lead_seconds, p_ahead_seconds,
        p_retry_attempts, p_retry_delay_seconds
    ) as c;
end
$$;
revoke all on function public.enqueue_and_claim_broadcast_jobs(
    uuid[], integer[], uuid[], text[], text[], text[], timestamp[], timestamptz[], integer[], timestamptz[], timestamptz[], timestamptz[],
    text[], uuid, integer, double precision, text, text[], double precision, double precision, integer, double precision
) from public, anon, authenticated;
grant execute on function public.enqueue_and_claim_broadcast_jobs(
    uuid[], integer[], uuid[], text[], text[], text[], timestamp[], timestamptz[], integer[], timestamptz[], timestamptz[], timestamptz[],
    text[], uuid, integer, double precision, text, text[], double precision, double precision, integer, double precision
) to service_role;

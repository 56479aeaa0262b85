-- Turns due rows into jobs, in one transaction: row to `processing` (or `failed`, with the reason),
-- one job with one recipient and its message, the next occurrence of a series. Only rows that are
-- still pending at the revision that the caller read, whose contact still has the number that it
-- saw: an edit in between wins and the row is read again.
-- Locks: none on existing tables.

-- What becomes of a due row, as the daemon has decided it: a field of p_rows for each, up to
-- `phone`, which is the contact's number as it was looked up. `soon`: up to when the row may be
-- due. The last two are for a row that the database has refused: what has been tried with it, and
-- why its series ends with it.
drop type if exists private.planned_row cascade;
create type private.planned_row as (
    id uuid,
    revision integer,
    job_id uuid,
    recipient text,
    error text,
    timezone text,
    anchor timestamp,
    occurrence timestamptz,
    missed integer,
    next_at timestamptz,
    next_after timestamptz,
    expires_at timestamptz,
    phone text,
    soon timestamptz,
    stage integer,
    series_ends text
);

-- The columns of scheduled_messages that are ours; all others are the project's own.
create or replace function private.our_columns()
returns text[]
language sql
immutable
set search_path = ''
as $$
    select array[
        'id', 'connection_id', 'contact_id', 'message', 'type', 'media_url', 'caption', 'media',
        'asset_id', 'scheduled_at', 'status', 'created_at', 'created_by', 'owner_id', 'sent_at',
        'message_id', 'error', 'is_recurring', 'recurrence_pattern', 'recurrence_end_at',
        'next_scheduled_at', 'timezone', 'series_id', 'series_anchor', 'occurrence_at', 'missed',
        'next_id', 'broadcast_job_id', 'due_at', 'waiting_reason', 'waiting_until',
        'delivery_status', 'revision', 'updated_at', 'category', 'priority', 'held', 'not_after',
        'template', 'source_id', 'source_position', 'source_try',
        'scheduled_in_queue' -- upstream's: whether its queue has the row
    ]
$$;

-- The project's own columns that travel to the next occurrence, null where there are none. Not what
-- numbers or is worked out from others; and of a unique index that would hold the same again, not
-- one column that can do without.
create or replace function private.columns_that_travel()
returns text[]
language sql
stable
set search_path = ''
as $$
    with own as materialized (
        select
            a.attnum,
            a.attname::text as name,
            not a.attnotnull as is_nullable,
            a.atthasdef as has_default
        from pg_catalog.pg_attribute as a
        left join pg_catalog.pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = 'public.scheduled_messages'::regclass
            and a.attnum > 0
            and not a.attisdropped
            and a.attname <> all(private.our_columns())
            and a.attgenerated = ''
            and a.attidentity = ''
            and coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') !~ 'nextval\('
    ),
    -- Of each such index the column that is left out.
    spared as (
        select without_one.attnum
        from pg_catalog.pg_index as i
        cross join lateral (
            select k.attnum
            from unnest(i.indkey::smallint[]) with ordinality as k (attnum, position)
            join own on own.attnum = k.attnum
            where own.has_default or own.is_nullable
            order by own.has_default desc, k.position desc
            limit 1
        ) as without_one
        where i.indrelid = 'public.scheduled_messages'::regclass
            and i.indisunique
            and 0 <> all(i.indkey::smallint[])
            -- Not where the next occurrence differs anyway.
            and not exists (
                select 1 from pg_catalog.pg_attribute as a
                where a.attrelid = i.indrelid
                    and a.attnum = any(i.indkey::smallint[])
                    and a.attname in (
                        'id', 'scheduled_at', 'occurrence_at', 'created_at', 'due_at',
                        'broadcast_job_id', 'message_id'
                    )
            )
    )
    select array_agg(own.name order by own.attnum)
    from own
    where own.attnum not in (select spared.attnum from spared)
$$;

-- The next occurrences of these rows, which know by now when those are. Where one exists already,
-- the row names that one.
create or replace function private.add_next(
    p_rows uuid[], p_next_ids uuid[], p_next_after timestamptz[]
)
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
    execute format(
        'with made as (
            insert into public.scheduled_messages (
                id, scheduled_at, next_scheduled_at, connection_id, contact_id, message, type,
                media_url, caption, media, asset_id, created_by, owner_id, is_recurring,
                recurrence_pattern, recurrence_end_at, timezone, series_id, series_anchor,
                occurrence_at, category, priority, template, not_after%1$s
            )
            select
                given.next_id, s.next_scheduled_at, given.next_after, s.connection_id,
                s.contact_id, s.message, s.type, s.media_url, s.caption, s.media, s.asset_id,
                s.created_by, s.owner_id, true, s.recurrence_pattern, s.recurrence_end_at,
                s.timezone, s.series_id, s.series_anchor, s.next_scheduled_at, s.category,
                s.priority, s.template, s.not_after + (s.next_scheduled_at - s.scheduled_at)%2$s
            from unnest($1, $2, $3) as given (id, next_id, next_after)
            join public.scheduled_messages as s on s.id = any(array[given.id])
            on conflict (series_id, occurrence_at) where series_id is not null do nothing
            returning id
        )
        select array_agg(made.id) from made',
        (select string_agg(format(', %I', own.name), '') from unnest(v_own) as own (name)),
        (select string_agg(format(', s.%I', own.name), '') from unnest(v_own) as own (name))
    )
    into v_made using p_rows, p_next_ids, p_next_after;

    if coalesce(cardinality(v_made), 0) < cardinality(p_next_ids) then
        update public.scheduled_messages as s
        set next_id = (
            select o.id from public.scheduled_messages as o
            where o.series_id = s.series_id and o.occurrence_at = s.next_scheduled_at
            limit 1
        )
        where s.id = any(p_rows)
            and s.next_id = any(p_next_ids)
            and s.next_id <> all(coalesce(v_made, '{}'));
    end if;
end
$$;

-- An earlier occurrence that still waits would go out together with one of these, which have jobs
-- now. Not a later one: this may be the retry of an old one; and not another of these, which are
-- all due. Where the later one fails nobody asks: then the earlier is all there is.
create or replace function private.supersede(p_rows uuid[])
returns void
language sql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    with superseded as (
        update public.broadcast_jobs as job
        set status = 'cancelled',
            completed_at = now(),
            updated_at = now()
        from (
            select waiting.id
            from unnest(p_rows) as given (id)
            join public.scheduled_messages as later on later.id = any(array[given.id])
            join public.broadcast_jobs as waiting
                on waiting.series_id = any(array[later.series_id])
                and waiting.status = 'queued'
            join public.scheduled_messages as message
                on message.id = any(array[waiting.scheduled_message_id])
                and message.broadcast_job_id = waiting.id
                and message.occurrence_at < later.occurrence_at
                and (message.owner_id, message.created_by)
                is not distinct from (later.owner_id, later.created_by)
            join public.broadcast_messages as entry on entry.job_id = any(array[waiting.id])
            where message.id <> all(p_rows)
            -- The row too: whoever holds it, deleting its connection, say, may be waiting for one
            -- of ours.
            for update of waiting, message, entry skip locked
        ) as earlier
        where job.id = any(array[earlier.id])
        returning job.id
    )
    update public.broadcast_messages as entry
    set status = 'failed',
        error = 'Superseded: it still waited when the next occurrence of its series fell due.',
        updated_at = now()
    from superseded
    where entry.job_id = any(array[superseded.id])
$$;

-- Returns of each row that left `pending`: its id, its connection where it has a job now, and when
-- it is due.
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
    v_recurring uuid[]; -- those of a series that have a job now
    v_rows uuid[]; -- those that have a next one, its id, and when the one after that is
    v_next_ids uuid[];
    v_next_after timestamptz[];
begin
    -- Rows that are still as they were read, locked, each with what was decided of it.
    with due as materialized (
        -- Not `message.*`: a project may have columns of its own by the names that follow.
        select
            message.id,
            message.connection_id,
            message.contact_id,
            message.message,
            message.type,
            message.media_url,
            message.caption,
            message.media,
            message.asset_id,
            message.template,
            message.priority,
            message.scheduled_at,
            message.created_by,
            message.owner_id,
            message.is_recurring,
            planned.job_id,
            planned.recipient,
            planned.error as refusal,
            planned.series_ends,
            planned.timezone as zone,
            planned.anchor,
            planned.occurrence,
            planned.missed as missed_now,
            planned.next_at,
            planned.next_after,
            planned.expires_at,
            case
                when planned.next_at is not null and message.next_id is null
                then gen_random_uuid()
            end as new_id,
            -- A series has an id that nobody can choose. An occurrence that its author has moved to
            -- the instant of another one begins a series of its own.
            case
                when planned.anchor is null then message.series_id
                when message.series_id is null or exists (
                    select 1 from public.scheduled_messages as other
                    where other.series_id = any(array[message.series_id])
                        and other.occurrence_at = any(array[planned.occurrence])
                        and other.id <> message.id
                ) then gen_random_uuid()
                else message.series_id
            end as series
        from unnest(p_rows) as planned
        cross join lateral (
            select s.* from public.scheduled_messages as s
            where s.id = planned.id
            limit 1
            for update skip locked
        ) as message
        where message.status = 'pending'
            and message.revision = planned.revision
            and message.scheduled_at <= planned.soon
            -- Its contact is still whom look_up_recipients found: with this number, not blocked,
            -- and of the same owner, who is the connection's where the row has none.
            and (planned.phone is null or exists (
                select 1
                from (
                    values (null::text, null::text, null::text, null::text)
                ) as missing (phone_number, is_blocked, owner_id, user_id)
                cross join lateral (
                    select
                        left(phone_number::text, 256) as phone,
                        is_blocked::text as is_blocked,
                        coalesce(owner_id::text, user_id::text) as owner
                    from public.contacts as c
                    where c.id = any(array[private.contact_key(message.contact_id)])
                ) as contact
                where contact.phone = planned.phone
                    and not private.is_yes(contact.is_blocked)
                    and (
                        contact.owner in (message.owner_id::text, message.created_by::text)
                        or (
                            message.owner_id is null
                            and message.created_by is null
                            and exists (
                                select 1
                                from (values (null::text)) as missing (user_id)
                                cross join lateral (
                                    select user_id::text as owner
                                    from public.connections as c
                                    where c.id::text = any(array[message.connection_id])
                                ) as connection
                                where connection.owner = contact.owner
                            )
                        )
                    )
            ))
    ),
    -- A job each for those that can be sent.
    job as (
        insert into public.broadcast_jobs (
            id, scheduled_message_id, series_id, connection_id, recipient, contacts, contact_id,
            type, message, media_url, caption, media, asset_id, user_id, schedule, status,
            total_contacts, available_at, expires_at, broadcast_name, isprivatemessage, priority,
            template
        )
        select
            due.job_id,
            due.id,
            case when due.is_recurring then due.series end as series_id,
            due.connection_id,
            due.recipient,
            array[due.recipient] as contacts,
            due.contact_id,
            due.type,
            due.message,
            due.media_url,
            due.caption,
            due.media::text as media,
            due.asset_id,
            coalesce(due.owner_id, due.created_by) as user_id,
            due.scheduled_at as schedule,
            'queued' as status,
            1 as total_contacts,
            greatest(now(), due.scheduled_at) as available_at,
            due.expires_at,
            'scheduled message' as broadcast_name,
            true as isprivatemessage,
            case when due.priority > 0 then 1 else 0 end as priority,
            due.template
        from due
        where due.refusal is null
    ),
    -- And that job's message.
    entry as (
        insert into public.broadcast_messages (
            id, job_id, scheduled_message_id, contact, message, type, media_url, caption, status
        )
        select
            due.job_id as id,
            due.job_id,
            due.id as scheduled_message_id,
            -- Digits alone, also of a WhatsApp id: by them the Node worker finds the row.
            regexp_replace(split_part(due.recipient, '@', 1), '\D', '', 'g') as contact,
            due.message,
            due.type,
            due.media_url,
            due.caption,
            'waiting' as status
        from due
        where due.refusal is null
    ),
    -- What the row says of it.
    changed as (
        update public.scheduled_messages as message
        set status = case when due.refusal is null then 'processing' else 'failed' end,
            due_at = null,
            error = coalesce(due.refusal, due.series_ends, case
                when due.is_recurring and due.next_at is null and message.next_id is null
                    then private.why_no_next(message.recurrence_pattern, message.recurrence_end_at)
            end),
            broadcast_job_id = case when due.refusal is null then due.job_id end,
            timezone = coalesce(due.zone, message.timezone),
            series_id = due.series,
            series_anchor = due.anchor,
            occurrence_at = due.occurrence,
            scheduled_at = case
                when due.missed_now > 0 then due.occurrence else message.scheduled_at
            end,
            not_after = case
                when due.missed_now > 0
                    then message.not_after + (due.occurrence - message.scheduled_at)
                else message.not_after
            end,
            missed = due.missed_now,
            next_id = coalesce(message.next_id, due.new_id),
            next_scheduled_at = due.next_at,
            updated_at = now()
        from due
        where message.id = any(array[due.id])
        returning
            message.id,
            case when due.refusal is null then message.connection_id end as connection_id,
            greatest(now(), message.scheduled_at) as due_at,
            due.is_recurring and due.refusal is null as recurs,
            due.new_id,
            due.next_after
    )
    select
        jsonb_agg(jsonb_build_array(changed.id, changed.connection_id, changed.due_at)),
        array_agg(changed.id) filter (where changed.recurs),
        array_agg(changed.id) filter (where changed.new_id is not null),
        array_agg(changed.new_id) filter (where changed.new_id is not null),
        array_agg(changed.next_after) filter (where changed.new_id is not null)
    into v_done, v_recurring, v_rows, v_next_ids, v_next_after
    from changed;

    if v_recurring is not null then
        perform private.supersede(v_recurring);
    end if;
    if v_rows is not null then
        perform private.add_next(v_rows, v_next_ids, v_next_after);
    end if;
    return v_done;
end
$$;

-- What to try with a row that was refused: it goes out and its series ends; it fails and its series
-- goes on; it fails alone. Null: nothing is left. p_row: what was tried last. p_planned: what the
-- daemon had decided.
create or replace function private.with_less(
    p_row private.planned_row, p_planned private.planned_row, p_reason text
)
returns private.planned_row
language plpgsql
stable
set search_path = ''
as $$
declare
    v_error constant text := coalesce(
        p_planned.error, 'The database refused to schedule this message: ' || p_reason
    );
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
            v_less.series_ends := 'The series ends with this message, because the database refused'
                || ' the next one: ' || p_reason;
        when 2 then
            v_less.recipient := null;
            v_less.error := v_error;
        when 3 then
            v_less := row(p_planned.id, p_planned.revision, p_planned.job_id);
            v_less.missed := 0;
            v_less.soon := p_planned.soon;
            v_less.stage := 3;
            v_less.error := v_error;
        else
            return null;
    end case;
    return v_less;
end
$$;

-- Enqueues rows that may be refused, with less and less of what was decided. `done`: as
-- enqueue_rows returns it. `refused`: [{id, code, reason, became}], where a row became `series
-- ended`, `failed` or `put aside`; null where there is none.
create or replace function private.enqueue_or_put_aside(
    p_planned private.planned_row[], out done jsonb, out refused jsonb
)
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_rows private.planned_row[] := p_planned;
    v_try record;
    v_said jsonb := '{}'; -- what was said of each, by its id
begin
    done := '[]';
    while v_rows <> '{}' loop
        select tried.done, tried.refused into v_try
        from private.try_rows('enqueue_rows', v_rows, true) as tried;
        done := done || v_try.done;
        exit when v_try.refused = '[]';
        -- What is not the row's own fault does not fail: it is put aside.
        with less as (
            select
                said.place,
                said.code,
                said.reason,
                planned.id,
                case
                    when private.is_the_rows_fault(said.code)
                    then private.with_less(v_rows[said.place], planned, said.reason)
                end as next
            from jsonb_to_recordset(v_try.refused) as said (place integer, code text, reason text)
            cross join lateral (
                select p.* from unnest(p_planned) as p where p.id = v_rows[said.place].id limit 1
            ) as planned
        )
        select
            coalesce(
                array_agg(less.next order by less.place)
                    filter (where (less.next).stage is not null),
                '{}'
            ),
            -- Of a row that is refused again the first reason stays: the others follow from it.
            v_said || jsonb_object_agg(
                less.id,
                coalesce(
                    v_said -> less.id::text,
                    jsonb_build_object('id', less.id, 'code', less.code, 'reason', less.reason)
                ) || jsonb_build_object('became', case (less.next).stage
                    when 1 then 'series ended'
                    when 2 then 'failed'
                    when 3 then 'failed'
                    else 'put aside'
                end)
            )
        into v_rows, v_said
        from less;
    end loop;

    if v_said <> '{}' then
        perform private.put_aside(
            'enqueue', array_agg(aside.id), array_agg(aside.code), array_agg(aside.reason), null
        )
        from jsonb_each(v_said) as said
        cross join lateral jsonb_to_record(said.value) as aside (
            id uuid, code text, reason text, became text
        )
        where aside.became = 'put aside';
        refused := (select jsonb_agg(said.value) from jsonb_each(v_said) as said);
    end if;
end
$$;
revoke all on function private.our_columns, private.columns_that_travel, private.add_next,
private.supersede, private.enqueue_rows, private.with_less, private.enqueue_or_put_aside
from public;
grant execute on function private.our_columns, private.columns_that_travel, private.add_next,
private.supersede, private.enqueue_rows, private.with_less, private.enqueue_or_put_aside
to service_role;

-- p_rows: a JSON array, each of its objects a private.planned_row; what is null may be left out.
-- Text, because every server passes it on as it is (docs/adr/0026-many-rows-are-one-argument.md).
-- p_early_seconds, at most one: how long before its instant a row may be taken, so that its job is
-- at hand when the instant comes. Returns the ids of the rows that left `pending`, and what the
-- database refused, see enqueue_or_put_aside.
create or replace function public.enqueue_broadcast_jobs(
    p_rows text, p_early_seconds double precision default 0
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
    v_defaults private.planned_row;
    v_tried record;
begin
    v_defaults.missed := 0;
    v_defaults.soon := now() + make_interval(secs => least(1, p_early_seconds));
    v_defaults.stage := 0;
    v_tried := private.enqueue_or_put_aside(array(
        select planned
        from json_populate_recordset(v_defaults, p_rows::json) as planned
        where not exists (
            select 1 from private.refused_rows as aside
            where aside.id = planned.id and aside.step = 'enqueue' and aside.again_at > now()
        )
    ));
    -- All at once, and last: see there.
    perform private.announce_work(
        array_agg(done.row ->> 1), array_agg((done.row ->> 2)::timestamptz)
    )
    from jsonb_array_elements(v_tried.done) as done (row)
    where done.row ->> 1 is not null;
    enqueued := array(
        select (done.row ->> 0)::uuid from jsonb_array_elements(v_tried.done) as done (row)
    );
    refused := v_tried.refused;
    return next;
end
$$;
revoke all on function public.enqueue_broadcast_jobs(text, double precision)
from public, anon, authenticated;
grant execute on function public.enqueue_broadcast_jobs(text, double precision) to service_role;

-- The same, and what there are seats for is claimed in the same round trip, a moment before it is
-- due: how a message leaves on its second, however far away the database is.
create or replace function public.enqueue_and_claim_broadcast_jobs(
    p_rows text,
    p_token uuid,
    p_seats integer,
    p_lease_seconds double precision,
    p_gateway text default 'mock',
    p_busy text[] default '{}',
    p_call_seconds double precision default 0,
    p_early_seconds double precision default 0,
    p_retry_attempts integer default 3,
    p_retry_delay_seconds double precision default 60
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
    v_refused := (
        select done.refused from public.enqueue_broadcast_jobs(p_rows, p_early_seconds) as done
    );
    return query
    select claim.db_now, claim.next_ready_at, claim.jobs, v_refused
    from public.claim_broadcast_jobs(
        p_token, p_seats, p_lease_seconds, p_gateway, p_busy, null, p_call_seconds,
        p_early_seconds, p_retry_attempts, p_retry_delay_seconds
    ) as claim;
end
$$;
revoke all on function public.enqueue_and_claim_broadcast_jobs(
    text, uuid, integer, double precision, text, text[], double precision, double precision,
    integer, double precision
) from public, anon, authenticated;
grant execute on function public.enqueue_and_claim_broadcast_jobs(
    text, uuid, integer, double precision, text, text[], double precision, double precision,
    integer, double precision
) to service_role;

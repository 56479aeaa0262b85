-- The doctor's proof: made-up messages go the whole way, through the daemon's own functions, and
-- all of it is undone: no row stays, nobody hears of it, nothing of anybody else's is claimed or
-- locked. A connection of its own keeps it apart. Raises what stands in the way; PT200 where
-- something was not stored as it was written; PT299 in the end.
create or replace function private.rehearse_sending()
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_token constant uuid := gen_random_uuid();
    v_connection text := 'rehearsal ' || v_token;
    v_ids uuid[] := '{}';
    v_jobs constant uuid[] := array[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()];
    v_number integer;
    v_claimed text;
begin
    -- Three messages that recur, of a connection that nobody else has, due a minute ago.
    if exists (
        select from pg_catalog.pg_constraint as k
        where k.contype = 'f'
            and k.confrelid = 'public.connections'::regclass
            and k.conrelid in (
                'public.scheduled_messages'::regclass, 'public.broadcast_jobs'::regclass
            )
    ) then
        v_connection := private.make_up('public.connections', '{}') ->> 'id';
    end if;
    for v_number in 1..3 loop
        v_ids := v_ids || (
            private.make_up('public.scheduled_messages', jsonb_build_object(
                'connection_id', v_connection,
                'contact_id', '+1000000000' || v_number,
                'message', 'A rehearsal.',
                'type', 'text',
                'status', 'pending',
                'scheduled_at', now() + interval '1 day',
                'created_at', now() - interval '2 days',
                'is_recurring', true,
                'recurrence_pattern', 'daily',
                'timezone', 'UTC'
            )) ->> 'id'
        )::uuid;
    end loop;
    update public.scheduled_messages as s
    set scheduled_at = now() - interval '1 minute'
    where s.id = any(v_ids);
    perform private.expect_status(v_ids, 'pending');

    -- Each gets a job, and the next occurrence of its series a row.
    perform private.enqueue_rows(array(
        select jsonb_populate_record(null::private.planned_row, jsonb_build_object(
            'id', s.id,
            'revision', s.revision,
            'job_id', v_jobs[array_position(v_ids, s.id)],
            'recipient', s.contact_id,
            'timezone', 'UTC',
            'anchor', now()::timestamp,
            'occurrence', now(),
            'missed', 0,
            'next_at', now() + interval '1 day',
            'next_after', now() + interval '2 days',
            'soon', now(),
            'stage', 0
        ))
        from public.scheduled_messages as s
        where s.id = any(v_ids)
    ));
    perform private.expect_status(v_ids, 'processing');
    if (
        select count(*)
        from public.scheduled_messages as s
        join public.scheduled_messages as next on next.id = s.next_id and next.status = 'pending'
        where s.id = any(v_ids)
    ) < 3 then
        raise exception 'The next occurrence of a series was not stored.'
            using errcode = 'PT200', table = 'scheduled_messages';
    end if;

    -- All three are claimed.
    perform private.announce_work(array[v_connection], array[now()]);
    perform private.take_jobs(array[v_connection], 3, row(
        v_token, 60, 'mock', clock_timestamp(), 0.15, '0', 3, 60
    )::private.claim_terms);
    select string_agg(c.jobs::text, '') into v_claimed
    from public.claim_broadcast_jobs(v_token, 3, 60, 'mock') as c;
    if v_claimed is null or json_array_length(v_claimed::json) < 3 then
        raise exception 'What was enqueued could not be claimed.'
            using errcode = 'PT200', table = 'broadcast_jobs';
    end if;

    -- The first is sent, the second refused, by the longest words that there are.
    perform private.record_rows(array(
        select jsonb_populate_record(null::private.told_row, jsonb_build_object(
            'job_id', told.job_id,
            'token', v_token,
            'verdict', told.verdict,
            'message_id', told.message_id,
            'error', told.error,
            'wait', 0,
            'told_at', now(),
            'quietly', false
        ))
        from (
            values
            (v_jobs[1], 'sent', repeat('m', 200), null),
            (v_jobs[2], 'failed', null, repeat('e', 1900))
        ) as told (job_id, verdict, message_id, error)
    ));
    perform private.expect_status(v_ids[1:1], 'sent');
    perform private.expect_status(v_ids[2:2], 'failed');
    if (
        select count(*) from public.scheduled_messages as s
        where s.connection_id = v_connection and s.is_recurring
    ) > 6 then
        raise exception 'A trigger adds a message when a recurring one is sent, and so does the '
            'daemon: each would go out twice' using errcode = 'PT201', table = 'scheduled_messages';
    end if;

    -- Of the third nobody hears, until an operator lets it go out again.
    update public.broadcast_jobs as j
    set lease_until = now() - interval '1 second'
    where j.id = v_jobs[3];
    perform private.rescue_rows(array[jsonb_populate_record(
        null::private.late_row,
        jsonb_build_object('id', v_jobs[3], 'handover_seconds', 600, 'quietly', false)
    )]);
    perform private.expect_status(v_ids[3:3], 'unconfirmed');
    perform public.resolve_scheduled_message(v_ids[3], 'resend');
    perform private.expect_status(v_ids[3:3], 'pending');

    set constraints all immediate;
    raise exception 'undone' using errcode = 'PT299';
end
$$;

-- Raises PT200 where not all rows have this status, or what the database said of one that was put
-- aside (private.put_aside).
create or replace function private.expect_status(p_ids uuid[], p_status text)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
    v_status text;
    v_refused record;
begin
    select r.code, r.reason into v_refused
    from public.scheduled_messages as s
    join private.refused_rows as r on r.id in (s.id, s.broadcast_job_id)
    where s.id = any(p_ids)
    limit 1;
    if found then
        raise exception using message = v_refused.reason, errcode = v_refused.code,
            table = 'scheduled_messages';
    end if;
    select string_agg(distinct coalesce(s.status, 'gone'), ', ') into v_status
    from unnest(p_ids) as given (id)
    left join public.scheduled_messages as s on s.id = given.id;
    if v_status is distinct from p_status then
        raise exception 'A message that should be % is %.',
            p_status, coalesce(v_status, 'not stored')
            using errcode = 'PT200', table = 'scheduled_messages';
    end if;
end
$$;

-- As a user, the owner of some connection, would write one. Raises like the other.
create or replace function private.rehearse_writing()
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_role constant text := current_user;
    v_owner record;
begin
    -- `user_id` is found one level up where the project's connections have none.
    select found.id, found.user_id into v_owner
    from (values (null::text)) as missing (user_id)
    cross join lateral (
        select c.id::text as id, user_id::text as user_id from public.connections as c
    ) as found
    where found.user_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    limit 1;
    if v_owner.user_id is not null then
        perform
            set_config('request.jwt.claim.sub', v_owner.user_id, true),
            set_config('request.jwt.claim.role', 'authenticated', true),
            set_config(
                'request.jwt.claims',
                json_build_object('sub', v_owner.user_id, 'role', 'authenticated')::text,
                true
            );
        set local role authenticated;
        insert into public.scheduled_messages (connection_id, contact_id, message, scheduled_at)
        values (v_owner.id, '+10000000000', 'A rehearsal.', now() + interval '1 day');
        execute format('set local role %I', v_role);
    end if;
    raise exception 'undone' using errcode = 'PT299';
end
$$;

-- Writes outcomes by hand first, since that names the trigger that refuses one; then the two above.
-- No line when all is well.
create or replace function private.rehearse()
returns table (level text, what text, remedy text)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_act text;
    v_failed boolean := false;
    v_state text;
    v_words text;
    v_table text;
    v_column text;
    v_constraint text;
    v_context text;
begin
    foreach v_act in array array[
        'private.try_out', 'private.rehearse_sending', 'private.rehearse_writing'
    ] loop
        continue when v_failed and v_act = 'private.rehearse_sending'; -- it would tell the same
        begin
            execute format('select %s()', v_act);
        exception
            when sqlstate 'PT299' then
                continue;
            when others then
                get stacked diagnostics
                    v_state = returned_sqlstate,
                    v_words = message_text,
                    v_table = table_name,
                    v_column = column_name,
                    v_constraint = constraint_name,
                    v_context = pg_exception_context;
        end;
        -- What is made up may break the project's own rules: that tells nothing of its real rows.
        continue when v_state ~ '^2[23]'
            and (v_act = 'private.rehearse_writing' or v_context like '%private.make_up(%');
        v_failed := true;
        return query
        select
            case v_act when 'private.rehearse_writing' then 'warning' else 'failure' end,
            format(
                'a rehearsal, which was undone, could not %s: %s, at: %s',
                case v_act
                    when 'private.rehearse_writing' then 'write as a connection''s owner'
                    else 'send a message'
                end,
                fault.what,
                left(regexp_replace(coalesce(
                    (regexp_match(v_context, 'SQL statement "([^"]*)'))[1], v_act
                ), '\s+', ' ', 'g'), 120)
            ),
            fault.remedy
        from private.explain_fault(
            v_state, v_words, v_table, v_column, v_constraint, v_context
        ) as fault
        -- So may a trigger of connections, for one, on which a rehearsal makes one up.
        where v_context not like '%private.make_up(%' or fault.remedy not like 'Look at%';
    end loop;
end
$$;
revoke all on function private.rehearse_sending, private.expect_status,
private.rehearse_writing, private.rehearse from public;
grant execute on function private.rehearse_sending, private.expect_status,
private.rehearse_writing, private.rehearse to service_role;

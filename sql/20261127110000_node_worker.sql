-- What a Node worker tells of the jobs that were handed over to it, and what that means. It writes
-- the two tables from outside, as the service key or as `anon`; the daemon need not be there. Every
-- attempt is a job of its own, because BullMQ never runs an id again that it knows, and because the
-- worker's last words on one attempt come after its first
-- (docs/adr/0015-no-job-of-the-node-worker-begins-twice.md).
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- What an error of the worker means. `stopped`: the connection is not to be had, and this message
-- was certainly not sent. `retry`: certainly not sent either, and it may work later. `failed`: it
-- never will. `unconfirmed`: it may have gone out; so is every error that is not listed, such as
-- "Request timeout after 15000ms", after which the phone may still send. The words are those of
-- edivianika/wa-nexus at 489193e, in Server/src, by the file that says them.
create or replace function private.meaning_of(p_words text)
returns text
language sql
immutable
set search_path = ''
as $$
    select coalesce((
        select w.meaning
        from (
            values
            -- broadcast/broadcastWorker.js, before it asks for anything to be sent
            ('^CONNECTION_NOT_READY$', 'stopped'),
            ('^Connection .* is in cooldown', 'stopped'),
            ('^MEDIA_NOT_FOUND$', 'retry'),
            ('^E[A-Z]+: .*, (open|read|stat)\M', 'retry'), -- fs.readFileSync of what it downloaded
            ('^EMPTY_MESSAGE$', 'failed'),
            ('^Contacts data is not an array', 'failed'),
            -- a file without a type
            (
                '^Cannot read properties of \w+ \(reading ''(startsWith|split|includes)''\)$',
                'failed'
            ),
            -- utils/broadcastConnectionFactory.js, before it publishes the request
            ('^Connection .* recently failed: ', 'stopped'),
            ('^Koneksi .* tidak dapat diakses', 'stopped'),
            ('^Koneksi .* tidak ditemukan', 'stopped'),
            ('^Data koneksi .* tidak valid', 'stopped'),
            ('^connectionId diperlukan$', 'failed'),
            ('^Too many pending requests', 'stopped'),
            -- utils/whatsappMessageHandler.js, before it hands anything to a phone
            ('^Connection .* not found$', 'stopped'),
            ('^Unknown action: ', 'failed'),
            ('^Missing media path for ', 'failed'),
            ('^Media file not accessible: ', 'retry'),
            -- utils/connectionManagerSingleton.js and connections/ConnectionManager.js, while the
            -- server starts
            ('^Socket\.IO instance is required$', 'stopped'),
            ('^ConnectionManager belum diinisialisasi', 'stopped')
        ) as w (pattern, meaning)
        where btrim(p_words) ~ w.pattern
        limit 1
    ), 'unconfirmed')
$$;
revoke all on function private.meaning_of from public;

-- Writes an outcome down where the row hears of it: on the job's message, or on the row itself
-- where somebody has deleted that.
create or replace function private.tell(p_job_id uuid, p_status text, p_error text)
returns void
language plpgsql
set search_path = ''
as $$
begin
    update public.broadcast_messages as m
    set status = p_status,
        error = left(p_error, 2000),
        sent_at = case when p_status = 'sent' then now() end,
        updated_at = now()
    where m.job_id = p_job_id;
    if not found then
        update public.scheduled_messages as s
        set status = p_status,
            error = left(p_error, 2000),
            sent_at = case when p_status = 'sent' then now() end,
            message_id = case when p_status = 'sent' then p_job_id::text end,
            waiting_reason = null,
            waiting_until = null,
            updated_at = now()
        from public.broadcast_jobs as j
        where j.id = p_job_id
            and s.id = j.scheduled_message_id
            and s.broadcast_job_id = j.id
            and (
                s.status in ('processing', 'unconfirmed', 'in_queue')
                or (s.status = 'cancelled' and p_status <> 'failed')
            );
    end if;
end
$$;
revoke all on function private.tell from public;

-- The same message once more, as a new job, if its row still wants it. `stopped` costs no attempt
-- and pauses the connection.
create or replace function private.send_again(
    p_job public.broadcast_jobs, p_meaning text, p_words text
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
    v_id constant uuid := gen_random_uuid();
    v_wait constant double precision := case p_meaning
        when 'retry' then coalesce(p_job.retry_delay_seconds, 60) * (1 + random() / 4) else 0
    end;
    v_at constant timestamptz := now() + make_interval(secs => v_wait);
    v_said constant text := 'the broadcast worker says: ' || p_words;
begin
    update public.scheduled_messages as s
    set broadcast_job_id = v_id,
        status = 'processing',
        error = case
            when p_meaning = 'retry' then left(format(
                'try %s of %s at %s UTC: %s', p_job.attempts + 1, coalesce(p_job.retry_attempts, 3),
                to_char(
                    v_at at time zone 'utc',
                    case when v_wait < 43200 then 'HH24:MI' else 'YYYY-MM-DD HH24:MI' end
                ),
                p_words
            ), 2000)
        end,
        waiting_reason = case when p_meaning = 'stopped' then left(v_said, 500) end,
        waiting_until = null,
        updated_at = now()
    where s.id = p_job.scheduled_message_id
        and s.broadcast_job_id = p_job.id
        and s.status in ('processing', 'in_queue');
    if not found then
        return false;
    end if;

    insert into public.broadcast_jobs (
        id, scheduled_message_id, series_id, connection_id, recipient, contacts, contact_id,
        type, message, media_url, caption, media, asset_id, user_id, schedule, status,
        total_contacts, available_at, expires_at, broadcast_name, isprivatemessage, attempts,
        throttled, refusals, refused_at, refusal, priority, template
    )
    values (
        v_id, p_job.scheduled_message_id, p_job.series_id, p_job.connection_id, p_job.recipient,
        p_job.contacts, p_job.contact_id, p_job.type, p_job.message, p_job.media_url,
        p_job.caption, p_job.media, p_job.asset_id, p_job.user_id, p_job.schedule, 'queued', 1,
        v_at, p_job.expires_at, p_job.broadcast_name, true,
        p_job.attempts - (p_meaning = 'stopped')::integer, p_job.throttled, p_job.refusals,
        p_job.refused_at,
        case when p_meaning = 'stopped' then left(v_said, 500) else p_job.refusal end,
        p_job.priority, p_job.template
    );
    insert into public.broadcast_messages (
        id, job_id, scheduled_message_id, contact, message, type, media_url, caption, status
    )
    values (
        v_id, v_id, p_job.scheduled_message_id,
        regexp_replace(split_part(p_job.recipient, '@', 1), '\D', '', 'g'),
        p_job.message, p_job.type, p_job.media_url, p_job.caption, 'waiting'
    );
    perform private.announce_work(array[p_job.connection_id], array[v_at]);
    perform private.note_or_leave(jsonb_build_array(jsonb_build_object(
        'connection_id', p_job.connection_id, 'outcome', p_meaning, 'error', v_said,
        'available_at', v_at, 'send_at', p_job.send_at, 'recipient', p_job.recipient, 'id', v_id
    )));
    return true;
end
$$;
revoke all on function private.send_again from public;

-- Makes of what the worker said an end of this job. What is unconfirmed never goes back to the
-- queue, whatever it says later.
create or replace function private.hear_node_worker(p_job_id uuid, p_meaning text, p_words text)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_job public.broadcast_jobs;
    v_error text := coalesce(nullif(p_words, ''), 'it gave no reason');
    v_doubt constant boolean := p_meaning = 'unconfirmed';
    v_goes_on boolean := false;
begin
    select * into v_job from public.broadcast_jobs as j where j.id = p_job_id for update;
    if p_meaning in ('retry', 'stopped') and v_job.status <> 'unconfirmed' then
        if p_meaning = 'stopped' or v_job.attempts < coalesce(v_job.retry_attempts, 3) then
            -- Before the job ends: its message then tells the row nothing.
            v_goes_on := private.send_again(v_job, p_meaning, v_error);
        else
            v_error := v_error || format(
                ' (given up after %s %s)', v_job.attempts,
                case v_job.attempts when 1 then 'try' else 'tries' end
            );
        end if;
    end if;
    update public.broadcast_jobs as j
    set status = case when v_doubt then 'unconfirmed' else 'failed' end,
        failed_count = (not v_doubt)::integer,
        completed_at = now(),
        lease_until = null,
        updated_at = now()
    where j.id = p_job_id;
    perform private.tell(p_job_id, case when v_doubt then 'unconfirmed' else 'failed' end, case
        when not v_doubt then v_error
        when p_words = '' or p_words is null
            then 'It may have been sent: the broadcast worker ended its job without a word on it.'
        else 'It may have been sent: the broadcast worker says: ' || p_words
    end);
    if v_goes_on then
        -- The row knows only its last one, when it is deleted.
        perform private.erase_jobs(array[p_job_id]);
    end if;
end
$$;
revoke all on function private.hear_node_worker from public;

-- The worker awaits this write before it sends, so a refusal keeps it from sending. It makes a job
-- `active` twice only when it runs it twice: it was killed in between (BullMQ's stalled check), and
-- nobody knows whether the message went out; or the outcome is known. A job that is over stays what
-- it is, whatever a late run says of it.
create or replace function private.guard_job_of_node_worker()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if not private.hands_over(old.gateway) then
        return new;
    end if;
    if new.status = 'active' then
        if old.status not in ('sending', 'handed_over', 'delayed') then
            raise exception 'This message is not to be sent: its job is % already.', old.status
                using errcode = 'PT409';
        end if;
    elsif old.status in ('completed', 'failed', 'cancelled', 'unconfirmed') then
        if new.status in ('failed', 'cancelled', 'delayed', 'completed')
            and not (new.status = 'completed' and old.status in ('cancelled', 'unconfirmed'))
        then
            new.status := old.status;
        end if;
    elsif old.status <> 'queued' then
        if new.status not in ('completed', 'failed', 'cancelled', 'delayed') then
            new.status := old.status; -- no word that a Node worker knows
        elsif new.status in ('failed', 'cancelled') and exists (
            select 1 from public.broadcast_messages as m
            where m.job_id = new.id and m.status = 'sent'
        ) then
            new.status := 'completed';
        end if;
    end if;
    return new;
end
$$;
revoke all on function private.guard_job_of_node_worker from public;

-- Our own writers change the lease or the token with the status, or are triggers; a Node worker
-- never does and never is.
create or replace trigger guard_job_of_node_worker before update of status on public.broadcast_jobs
for each row when (
    pg_trigger_depth() = 0 and old.scheduled_message_id is not null
    and new.lease_token is not distinct from old.lease_token
    and new.lease_until is not distinct from old.lease_until
) execute function private.guard_job_of_node_worker();

-- A job that ends without a word on its message. Upstream's becomes `active` before it looks at
-- anything else: what fails earlier was certainly not sent; what fails later, nobody knows.
-- `completed` it says only of what it sent.
create or replace function private.settle_job_of_node_worker()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_began constant boolean := old.status not in ('sending', 'handed_over', 'delayed');
    v_words constant text := nullif(to_jsonb(new) ->> 'error_message', '');
    v_meaning text := private.meaning_of(v_words);
begin
    if not private.hands_over(new.gateway) or exists (
        select 1 from public.broadcast_messages as m
        where m.job_id = new.id and m.status in ('sent', 'failed', 'skipped')
    ) then
        return null;
    end if;
    if new.status = 'completed' then
        perform private.tell(new.id, 'sent', null);
    elsif new.status = 'cancelled' and not v_began then
        perform private.tell(new.id, 'failed', 'The broadcast worker cancelled it.');
    else
        if v_meaning = 'unconfirmed' and not v_began then
            v_meaning := 'retry';
        end if;
        perform private.hear_node_worker(
            new.id, v_meaning,
            coalesce(v_words, case when not v_began then 'it could not begin' end)
        );
    end if;
    return null;
end
$$;
revoke all on function private.settle_job_of_node_worker from public;

create or replace trigger settle_job_of_node_worker after update of status on public.broadcast_jobs
for each row when (
    pg_trigger_depth() = 0 and new.scheduled_message_id is not null
    and new.status is distinct from old.status
    and new.lease_token is not distinct from old.lease_token
    and new.lease_until is not distinct from old.lease_until
    and new.status in ('completed', 'failed', 'cancelled')
    and old.status not in ('queued', 'completed', 'failed')
) execute function private.settle_job_of_node_worker();

-- The Node worker gives no id. It ends its job only after a pause of seconds, in which it may be
-- killed, so what it has sent is over at once. A connection that was stopped hears that one got
-- through.
create or replace function private.close_job_of_node_worker()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.broadcast_jobs as j
    set status = 'completed',
        sent_count = 1,
        progress = 100,
        completed_at = now(),
        lease_until = null,
        updated_at = now()
    where j.id = new.job_id
        and j.status not in ('queued', 'completed')
        and private.hands_over(j.gateway);
    perform private.note_or_leave(jsonb_build_array(jsonb_build_object(
        'connection_id', j.connection_id, 'outcome', 'sent', 'send_at', j.send_at,
        'recipient', j.recipient, 'id', j.id
    )))
    from public.broadcast_jobs as j
    join private.connection_state as c on c.connection_id = any(array[j.connection_id])
    where j.id = new.job_id and c.resumed_at is not null and private.hands_over(j.gateway);
    return null;
end
$$;
revoke all on function private.close_job_of_node_worker from public;

create or replace trigger close_job_of_node_worker
after update of status on public.broadcast_messages
for each row when (
    new.status = 'sent' and new.message_id is null and new.scheduled_message_id is not null
) execute function private.close_job_of_node_worker();

-- A message that goes out in several parts, such as one with two attachments. What its row says is
-- what became of all of them. `broadcast_messages.parts` holds an object for each, in order; null
-- for a message of one part: id: the gateway's; said: what the gateway answered (sent | failed |
-- unconfirmed), or `none` where it was not asked any more because of what became of an earlier one;
-- reason: why not sent; told: what a webhook told of it (sent | delivered | read | failed); error:
-- of `failed`. Whatever is not known is not there.

-- The part p_place of p_count was told of: `failed` unless it was seen already, and never less than
-- before.
create or replace function private.with_word(
    p_parts jsonb, p_place integer, p_count integer, p_id text, p_told text, p_error text
)
returns jsonb
language sql
immutable
set search_path = ''
as $$
    select case
        when array_position(array['sent', 'failed', 'delivered', 'read'], p_told)
            > coalesce(array_position(array['sent', 'failed', 'delivered', 'read'], known.part ->> 'told'), 0)
        then jsonb_set(known.parts, array[(p_place - 1)::text], jsonb_build_object('id', p_id) || known.part
            || jsonb_build_object('told', p_told, 'error', case p_told when 'failed' then coalesce(p_error, 'WhatsApp gave no reason.') end))
        else known.parts
    end
    from (
        select made.parts, made.parts -> (p_place - 1) as part
        from (
            select coalesce(p_parts, (select jsonb_agg('{}'::jsonb) from generate_series(1, p_count))) as parts
        ) as made
    ) as known
$$;

-- The same for all that was told of one message: [{part, parts, message_id, status, error}].
create or replace function private.with_words(p_parts jsonb, p_words jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_parts jsonb := p_parts;
    v_word record;
begin
    for v_word in
        select * from jsonb_to_recordset(p_words) as w (part integer, parts integer, message_id text, status text, error text)
    loop
        if v_word.part between 1 and coalesce(jsonb_array_length(v_parts), v_word.parts) then
            v_parts := private.with_word(
                v_parts, v_word.part, v_word.parts, v_word.message_id, v_word.status, v_word.error
            );
        end if;
    end loop;
    return v_parts;
end
$$;

-- The gateway took the parts with these ids, in order; p_outcome (failed | unconfirmed) ended it at
-- the next one, if any is left.
create or replace function private.with_answer(p_parts jsonb, p_count integer, p_ids jsonb, p_outcome text, p_error text)
returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_agg(coalesce(p_parts -> (n - 1), '{}') || case
        when n <= done.count then jsonb_build_object('id', p_ids -> (n - 1), 'said', 'sent')
        when n = done.count + 1 then jsonb_build_object(
            'said', p_outcome,
            'reason', regexp_replace(p_error, '^(It may have been sent: )?(\d+ of \d+ parts went out, then: )?', '')
        )
        else jsonb_build_object('said', 'none', 'reason', 'the rest was not sent, because it was not known then what had become of this')
    end order by n)
    from (select jsonb_array_length(p_ids) as count) as done
    cross join generate_series(1, p_count) as n
$$;

-- What became of the whole: unconfirmed while nobody knows of some part, failed where one did not
-- go out, sent where all did. `delivery_status` is the least advanced of the parts, null where one
-- was not told of yet.
create or replace function private.fate(p_parts jsonb)
returns table (status text, message_id text, delivery_status text, error text)
language sql
immutable
set search_path = ''
as $$
    select whole.status, whole.message_id, whole.delivery_status, left(case whole.status
        when 'sent' then 'Accepted, but not delivered: ' || whole.undelivered
        when 'failed' then whole.out || ' of ' || whole.number || ' parts went out, then: ' || whole.why
    end, 2000)
    from (
        select count(*) as number, count(*) filter (where part.fate = 'out') as out,
            case
                when bool_or(part.fate = 'unknown') then 'unconfirmed' when bool_or(part.fate = 'lost') then 'failed' else 'sent'
            end as status,
            (array_agg(part.id order by part.place))[1] as message_id,
            case
                when bool_or(part.told = 'failed') then 'failed'
                when bool_and(part.told is not null) then (
                    array['sent', 'delivered', 'read']
                )[min(array_position(array['sent', 'delivered', 'read'], part.told))]
            end as delivery_status,
            string_agg('part ' || part.place || ': ' || part.error, '; ' order by part.place)
                filter (where part.told = 'failed') as undelivered,
            (array_agg(part.why order by part.place) filter (where part.fate = 'lost'))[1] as why
        from (
            select e.place, p.id, p.told, p.error, coalesce(p.reason, p.error) as why,
                case
                    when p.said in ('failed', 'none') then 'lost'
                    when p.said = 'sent' or p.told in ('sent', 'delivered', 'read') then 'out'
                    when p.told = 'failed' then 'lost'
                    else 'unknown'
                end as fate
            from jsonb_array_elements(p_parts) with ordinality as e (part, place)
            cross join lateral jsonb_to_record(e.part) as p (id text, said text, told text, reason text, error text)
        ) as part
    ) as whole
$$;

-- Brings jobs and rows to what their parts say: what is unconfirmed is settled once every part is
-- known; what is being sent only when all of them are known to be out, for else its answer is about
-- to come. What is settled learns what was delivered.
create or replace function private.settle_by_parts(p_job_ids uuid[])
returns void
language sql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    with known as materialized (
        select j.id, j.scheduled_message_id, j.status as job_status, f.*,
            (j.status = 'unconfirmed' and f.status <> 'unconfirmed') or (j.status = 'sending' and f.status = 'sent') as is_settled
        from (select distinct g.id from unnest(p_job_ids) as g (id) order by g.id) as given
        cross join lateral (
            select w.id, w.scheduled_message_id, w.status from public.broadcast_jobs as w
            where w.id = given.id limit 1 for update
        ) as j
        cross join lateral (
            select m.parts from public.broadcast_messages as m
            where m.job_id = j.id and m.parts is not null limit 1
        ) as m
        cross join lateral private.fate(m.parts) as f
    ),
    settled as (
        update public.broadcast_jobs as j
        set status = case k.status when 'sent' then 'completed' else 'failed' end,
            progress = 100, completed_at = now(), updated_at = now()
        from known as k
        where j.id = any(array[k.id]) and k.is_settled
    ),
    told as (
        update public.broadcast_messages as m
        set status = case when k.is_settled then k.status else m.status end,
            message_id = coalesce(m.message_id, k.message_id),
            delivery_status = k.delivery_status,
            error = case when k.is_settled or m.status = 'sent' then k.error else m.error end,
            sent_at = case when k.is_settled and k.status = 'sent' then now() else m.sent_at end,
            updated_at = now()
        from known as k
        where m.job_id = any(array[k.id])
    )
    select;

    update public.scheduled_messages as s
    set delivery_status = m.delivery_status, error = m.error, updated_at = now()
    from unnest(p_job_ids) as given (id)
    cross join lateral (
        select w.scheduled_message_id, w.delivery_status, w.error from public.broadcast_messages as w
        where w.job_id = given.id and w.status = 'sent' and w.parts is not null limit 1
    ) as m
    where s.id = any(array[m.scheduled_message_id]) and s.broadcast_job_id = given.id and s.status = 'sent'
        and (s.delivery_status, s.error) is distinct from (m.delivery_status, m.error)
$$;

-- The answer to a message of several parts, after it was written down as if it had one. p_answers:
-- [{job_id, outcome, error, parts: {of, ids}}].
create or replace function private.answer_parts(p_answers jsonb)
returns void
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    update public.broadcast_messages as m
    set parts = private.with_answer(m.parts, (a.parts ->> 'of')::integer, a.parts -> 'ids', a.outcome, a.error),
        message_ids = array(select jsonb_array_elements_text(a.parts -> 'ids'))
    from jsonb_to_recordset(p_answers) as a (job_id uuid, outcome text, error text, parts jsonb)
    where m.job_id = any(array[a.job_id]);
    perform private.settle_by_parts(array(select (a ->> 'job_id')::uuid from jsonb_array_elements(p_answers) as a));
end
$$;
revoke all on function private.with_word, private.with_words, private.with_answer, private.fate,
private.settle_by_parts, private.answer_parts from public;
grant execute on function private.with_word, private.with_words, private.with_answer,
private.fate, private.settle_by_parts, private.answer_parts to service_role;

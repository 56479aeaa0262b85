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
        when array_position(ranked.words, p_told)
            > coalesce(array_position(ranked.words, known.part ->> 'told'), 0)
        then jsonb_set(
            known.parts,
            array[(p_place - 1)::text],
            jsonb_build_object('id', p_id)
            || known.part
            || jsonb_build_object('told', p_told, 'error', case p_told
                when 'failed' then coalesce(p_error, 'WhatsApp gave no reason.')
            end)
        )
        else known.parts
    end
    from (
        select made.parts, made.parts -> (p_place - 1) as part
        from (
            select coalesce(
                p_parts, (select jsonb_agg('{}'::jsonb) from generate_series(1, p_count))
            ) as parts
        ) as made
    ) as known
    cross join (select array['sent', 'failed', 'delivered', 'read'] as words) as ranked
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
        select * from jsonb_to_recordset(p_words) as word (
            part integer, parts integer, message_id text, status text, error text
        )
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
create or replace function private.with_answer(
    p_parts jsonb, p_count integer, p_ids jsonb, p_outcome text, p_error text
)
returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_agg(coalesce(p_parts -> (n - 1), '{}') || case
        when n <= done.count then jsonb_build_object('id', p_ids -> (n - 1), 'said', 'sent')
        when n = done.count + 1 then jsonb_build_object(
            'said', p_outcome,
            'reason', regexp_replace(
                p_error,
                '^(It may have been sent: )?(\d+ of \d+ parts went out, then: )?',
                ''
            )
        )
        else jsonb_build_object(
            'said', 'none',
            'reason', 'the rest was not sent, because it was not known then what had become of this'
        )
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
    select
        whole.status,
        whole.message_id,
        whole.delivery_status,
        left(case whole.status
            when 'sent' then 'Accepted, but not delivered: ' || whole.undelivered
            when 'failed' then whole.out || ' of ' || whole.number || ' parts went out, then: '
                || whole.why
        end, 2000) as error
    from (
        select
            count(*) as number,
            count(*) filter (where part.fate = 'out') as out,
            case
                when bool_or(part.fate = 'unknown') then 'unconfirmed'
                when bool_or(part.fate = 'lost') then 'failed'
                else 'sent'
            end as status,
            (array_agg(part.id order by part.place))[1] as message_id,
            case
                when bool_or(part.told = 'failed') then 'failed'
                when bool_and(part.told is not null) then (array['sent', 'delivered', 'read'])[
                    min(array_position(array['sent', 'delivered', 'read'], part.told))
                ]
            end as delivery_status,
            string_agg('part ' || part.place || ': ' || part.error, '; ' order by part.place)
                filter (where part.told = 'failed') as undelivered,
            (array_agg(part.why order by part.place) filter (where part.fate = 'lost'))[1] as why
        from (
            select
                element.place,
                p.id,
                p.told,
                p.error,
                coalesce(p.reason, p.error) as why,
                case
                    when p.said in ('failed', 'none') then 'lost'
                    when p.said = 'sent' or p.told in ('sent', 'delivered', 'read') then 'out'
                    when p.told = 'failed' then 'lost'
                    else 'unknown'
                end as fate
            from jsonb_array_elements(p_parts) with ordinality as element (part, place)
            cross join lateral jsonb_to_record(element.part) as p (
                id text, said text, told text, reason text, error text
            )
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
    -- The jobs, locked, and what became of each by now.
    with known as materialized (
        select
            job.id,
            job.scheduled_message_id,
            job.status as job_status,
            fate.*,
            (job.status = 'unconfirmed' and fate.status <> 'unconfirmed')
            or (job.status = 'sending' and fate.status = 'sent') as is_settled
        from (
            select distinct g.id from unnest(p_job_ids) as g (id) order by g.id
        ) as given
        cross join lateral (
            select j.id, j.scheduled_message_id, j.status from public.broadcast_jobs as j
            where j.id = given.id
            limit 1
            for update
        ) as job
        cross join lateral (
            select m.parts from public.broadcast_messages as m
            where m.job_id = job.id and m.parts is not null
            limit 1
        ) as entry
        cross join lateral private.fate(entry.parts) as fate
    ),
    settled as (
        update public.broadcast_jobs as job
        set status = case known.status when 'sent' then 'completed' else 'failed' end,
            progress = 100,
            completed_at = now(),
            updated_at = now()
        from known
        where job.id = any(array[known.id]) and known.is_settled
    ),
    told as (
        update public.broadcast_messages as entry
        set status = case when known.is_settled then known.status else entry.status end,
            message_id = coalesce(entry.message_id, known.message_id),
            delivery_status = known.delivery_status,
            error = case
                when known.is_settled or entry.status = 'sent' then known.error
                else entry.error
            end,
            sent_at = case
                when known.is_settled and known.status = 'sent' then now()
                else entry.sent_at
            end,
            updated_at = now()
        from known
        where entry.job_id = any(array[known.id])
    )
    select;

    -- And the rows that were sent already.
    update public.scheduled_messages as message
    set delivery_status = entry.delivery_status,
        error = entry.error,
        updated_at = now()
    from unnest(p_job_ids) as given (id)
    cross join lateral (
        select m.scheduled_message_id, m.delivery_status, m.error
        from public.broadcast_messages as m
        where m.job_id = given.id and m.status = 'sent' and m.parts is not null
        limit 1
    ) as entry
    where message.id = any(array[entry.scheduled_message_id])
        and message.broadcast_job_id = given.id
        and message.status = 'sent'
        and (message.delivery_status, message.error)
        is distinct from (entry.delivery_status, entry.error)
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
    update public.broadcast_messages as entry
    set parts = private.with_answer(
            entry.parts, (answer.parts ->> 'of')::integer, answer.parts -> 'ids', answer.outcome,
            answer.error
        ),
        message_ids = array(select jsonb_array_elements_text(answer.parts -> 'ids'))
    from jsonb_to_recordset(p_answers) as answer (
        job_id uuid, outcome text, error text, parts jsonb
    )
    where entry.job_id = any(array[answer.job_id]);
    perform private.settle_by_parts(
        array(select (answer ->> 'job_id')::uuid from jsonb_array_elements(p_answers) as answer)
    );
end
$$;
revoke all on function private.with_word, private.with_words, private.with_answer, private.fate,
private.settle_by_parts, private.answer_parts from public;
grant execute on function private.with_word, private.with_words, private.with_answer,
private.fate, private.settle_by_parts, private.answer_parts to service_role;

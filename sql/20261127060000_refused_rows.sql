-- Rows that the database itself refuses to have written: a check, a trigger or a column's length
-- that the project has of its own, a value that no arithmetic takes. Every call that writes a batch
-- writes all of it in one subtransaction; only where that raises is it halved, until what is
-- refused stands alone. So one row never stops the others, and without such rows nothing costs
-- more. What can neither be written nor fail is put aside here: shown by `status`, counted by
-- `diagnose`, tried again at growing intervals.

create table if not exists private.refused_rows (
    step text not null check (
        step in ('enqueue', 'claim', 'record', 'settle', 'rescue', 'announce', 'note', 'tend')
    ),
    -- The scheduled row's where `step` is enqueue or tend, else the job's.
    id uuid not null,
    -- What the database said: SQLSTATE and message.
    code text not null,
    reason text not null,
    tries integer not null default 1,
    first_at timestamptz not null default now(),
    again_at timestamptz not null,
    -- Of a claim: whose job it is.
    connection_id text,
    -- What became of a message, where that is what cannot be written down; as private.told_row.
    outcome jsonb,
    primary key (id, step)
);
create index if not exists refused_rows_again_at_idx on private.refused_rows (step, again_at);
create index if not exists refused_rows_connection_idx
on private.refused_rows (connection_id, again_at) where step = 'claim';
alter table private.refused_rows enable row level security;
grant select, insert, update, delete on private.refused_rows to service_role;

-- Whether an error says something of the whole call and not of a row: the connection, a read-only
-- database, a deadlock, a want of resources, an administrator. (Classes of PostgreSQL's appendix A,
-- "PostgreSQL Error Codes".)
create or replace function private.stops_everybody(p_code text)
returns boolean
language sql
immutable
set search_path = ''
as $$
    select left(p_code, 2) in ('08', '25', '40', '53', '57', '58')
$$;

-- Whether an error is the row's own fault, so that the row may fail of it. Not: privileges,
-- functions and columns that do not exist (42), what somebody else holds (55), what PostgreSQL
-- cannot do just now (0A, 26, 28, F0, XX).
create or replace function private.is_the_rows_fault(p_code text)
returns boolean
language sql
immutable
set search_path = ''
as $$
    select left(p_code, 2) not in (
        '08', '0A', '25', '26', '28', '40', '42', '53', '55', '57', '58', 'F0', 'XX'
    )
$$;

-- After the first row that somebody holds, nobody else of this call waits for as long: whoever
-- holds a thousand rows would hold up everybody's by a thousand times `lock_timeout`. Until the
-- function ends that has set it.
create or replace function private.wait_less(p_code text)
returns void
language plpgsql
set search_path = ''
as $$
begin
    if p_code = '55P03' then
        perform set_config('lock_timeout', '5ms', true);
    end if;
end
$$;

-- The shorter of two lock_timeouts; 0 is none at all.
create or replace function private.shorter(p_one text, p_other text)
returns text
language sql
immutable
set search_path = ''
as $$
    select case
        when p_one = '0' or p_one::interval > p_other::interval then p_other
        else p_one
    end
$$;

-- Has private.<p_function>, which takes an array of rows and returns a json array, do its work for
-- all of them: at once if it can, else for halves of halves. `done`: what the calls that succeeded
-- returned, one after the other. `refused`: the others' places, with code and reason. Raises what
-- stops everybody; and with p_raises what was said of each of several and is no row's fault: a
-- privilege that is missing, a function that is not there.
create or replace function private.try_rows(
    p_function text,
    p_rows anyarray,
    p_raises boolean,
    out done jsonb,
    out refused jsonb
)
language plpgsql
set search_path = ''
as $$
declare
    v_first integer[] := array[1];
    v_last integer[] := array[cardinality(p_rows)];
    v_from integer;
    v_to integer;
    v_any boolean := false;
    v_found jsonb;
    v_code text;
    v_reason text;
    v_table text;
    v_constraint text;
begin
    done := '[]';
    refused := '[]';
    while v_last[1] > 0 loop
        v_from := v_first[cardinality(v_first)];
        v_to := v_last[cardinality(v_last)];
        v_first := trim_array(v_first, 1);
        v_last := trim_array(v_last, 1);
        begin
            execute format('select private.%I($1)', p_function)
            into v_found using p_rows[v_from:v_to];
            done := done || coalesce(v_found, '[]');
            v_any := true;
        exception when others then
            get stacked diagnostics
                v_code = returned_sqlstate,
                v_reason = message_text,
                v_table = table_name,
                v_constraint = constraint_name;
            if private.stops_everybody(v_code) then
                raise;
            end if;
            perform private.wait_less(v_code);
            if v_from < v_to then
                v_first := v_first || array[(v_from + v_to) / 2 + 1, v_from];
                v_last := v_last || array[v_to, (v_from + v_to) / 2];
            else
                v_any := v_any or private.is_the_rows_fault(v_code);
                refused := refused || jsonb_build_object(
                    'place', v_from,
                    'code', v_code,
                    'reason', left(private.words_of(v_table, v_constraint, v_reason), 500)
                );
            end if;
        end;
    end loop;
    if p_raises and not v_any and cardinality(p_rows) > 1 then
        raise exception using message = v_reason, errcode = v_code;
    end if;
end
$$;

-- A check's comment is for people; so is what a trigger says.
create or replace function private.words_of(p_table text, p_constraint text, p_reason text)
returns text
language sql
stable
set search_path = ''
as $$
    select coalesce(
        (
            select obj_description(k.oid, 'pg_constraint')
            from pg_catalog.pg_constraint as k
            join pg_catalog.pg_class as c on c.oid = k.conrelid
            where k.conname = p_constraint
                and c.relname = p_table
                and c.relnamespace = 'public'::regnamespace
        ),
        p_reason
    )
$$;

-- Puts rows aside, for 10 s at first (a second, where somebody holds it), twice as long after each
-- try, at most an hour; a minute where the row is not at fault.
create or replace function private.put_aside(
    p_step text,
    p_ids uuid[],
    p_codes text[],
    p_reasons text[],
    p_outcomes jsonb[],
    p_connections text[] default null
)
returns void
language sql
set search_path = ''
as $$
    insert into private.refused_rows as known (
        step, id, code, reason, again_at, outcome, connection_id
    )
    select
        p_step,
        given.id,
        given.code,
        given.reason,
        now() + make_interval(secs => case given.code when '55P03' then 1 else 10 end),
        given.outcome,
        given.connection_id
    from unnest(p_ids, p_codes, p_reasons, p_outcomes, p_connections)
        as given (id, code, reason, outcome, connection_id)
    order by given.id
    on conflict (id, step) do update
    set code = excluded.code,
        reason = excluded.reason,
        tries = known.tries + 1,
        outcome = excluded.outcome,
        again_at = now() + make_interval(secs => least(
            case when private.is_the_rows_fault(excluded.code) then 3600 else 60 end,
            case excluded.code when '55P03' then 1 else 10 end
            * power(2, least(known.tries, 10))
        ))
$$;

revoke all on function private.wait_less, private.shorter, private.stops_everybody,
private.is_the_rows_fault, private.words_of, private.try_rows, private.put_aside from public;
grant execute on function private.wait_less, private.shorter, private.stops_everybody,
private.is_the_rows_fault, private.words_of, private.try_rows, private.put_aside to service_role;

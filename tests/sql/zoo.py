"""Databases as strangers have them before we come: each a few statements beside a table as the document has it."""

from dataclasses import dataclass, field
from typing import Any

from tests.sql.roles import sql_file

CONNECTIONS = """
    create table connections (id text primary key, name text, user_id text, connected boolean default true);
"""
MESSAGES = """
    create table scheduled_messages (
        id uuid primary key default gen_random_uuid(), connection_id text not null, contact_id text not null,
        message text not null, type text not null default 'text', media_url text, caption text,
        scheduled_at timestamptz not null, status text not null default 'pending',
        created_at timestamptz not null default now(), created_by uuid references auth.users (id) on delete set null,
        sent_at timestamptz, message_id text, error text, is_recurring boolean default false, recurrence_pattern text,
        next_scheduled_at timestamptz, media json
    );
"""
JOBS = """
    create table broadcast_jobs (
        id uuid primary key default gen_random_uuid(), connection_id text, message text,
        type text not null default 'text',
        status text not null default 'queued', contacts text[] default '{}', created_at timestamptz default now()
    );
    create table broadcast_messages (
        id uuid primary key default gen_random_uuid(), job_id uuid references broadcast_jobs (id) on delete cascade,
        contact text not null, status text default 'pending', message_id text, error text, sent_at timestamptz
    );
"""
OLD = "00000000-0000-4000-8000-000000000001"
ROWS = f"""
    insert into connections (id, name) values ('{OLD}', 'old');
    insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, status, sent_at, message_id)
    values ('{OLD}', '919876500001', 'Before us', '2099-01-01', 'pending', null, null),
        ('{OLD}', '919876500002', 'Before us', '2099-01-02', 'sent', '2026-01-01', 'WA1');
"""
DOCUMENT = CONNECTIONS + MESSAGES + ROWS
RAISES = """
    create function {name}() returns trigger language plpgsql as $$ begin
        if {when} then raise exception '{words}'; end if; return new; end $$;
    create trigger {name} before {events} on scheduled_messages for each row execute function {name}();
"""
PEOPLE = """
    create table people (id integer primary key, user_id uuid, phone_number bigint, name text);
    create view contacts as select * from people;
"""
# Names that our own statements give to rows and to what they work out.
NAMED = ", ".join(f"add {name} text" for name in [*"abcdefghijklmnopqrstuvwxyz", "co", "ow", "own", "found"])
WORKED_OUT = ", ".join(
    f"add {name} text" for name in ["recipient", "job_id", "expires_at", "series", "zone", "refusal"]
)
AUDIT = """
    create table audit (number serial, what text);
    revoke all on audit, audit_number_seq from service_role, authenticated, anon;
    create function audit() returns trigger language plpgsql as $$ begin
        insert into public.audit (what) values (new.status); return null; end $$;
    create trigger audit after update on scheduled_messages for each row execute function audit();
"""
NEXT_BY_ITSELF = """
    create function next_by_itself() returns trigger language plpgsql as $$ begin
        insert into public.scheduled_messages
            (connection_id, contact_id, message, scheduled_at, is_recurring, recurrence_pattern)
        values (new.connection_id, new.contact_id, new.message, new.scheduled_at + interval '1 day', true, 'daily');
        return null; end $$;
"""
IN_PARTS = "create table scheduled_messages_rest partition of scheduled_messages default;"


@dataclass(frozen=True)
class Animal:
    """`columns`: what every message needs there. `contact`: a statement that makes one of %(user)s, returning its id,
    to whom messages go. `refused`: words of the list that `migrate` must refuse it with, in order."""

    name: str
    sql: str
    columns: dict[str, Any] = field(default_factory=dict)
    contact: str = ""
    refused: tuple[str, ...] = ()


def on_document(name: str, sql: str, *refused: str, **columns: Any) -> Animal:
    return Animal(name, DOCUMENT + sql, columns, refused=refused)


def altered(name: str, change: str, *refused: str, **columns: Any) -> Animal:
    return on_document(name, f"alter table scheduled_messages {change}", *refused, **columns)


def with_contacts(name: str, sql: str, contact: str) -> Animal:
    return Animal(name, DOCUMENT + sql, contact=contact)


def with_jobs(name: str, sql: str, *refused: str) -> Animal:
    return Animal(name, DOCUMENT + JOBS + sql, refused=refused)


ZOO = [
    Animal("nothing of ours", ""),
    Animal("upstream's tables", sql_file("upstream.sql")),
    on_document("the document's table", ""),
    # Status.
    altered(
        "the document's four statuses",
        "add check (status in ('pending', 'processing', 'sent', 'failed'))",
    ),
    altered(
        "two checks on the status",
        "add check (status in ('pending', 'sent')), add check (length(status) < 9)",
    ),
    on_document(
        "an enum, with what hangs on it",
        """
        create type state as enum ('pending', 'processing', 'sent', 'failed');
        alter table scheduled_messages alter status drop default, alter status type state using status::state,
            alter status set default 'pending', add check (status <> 'sent' or sent_at is not null);
        create index on scheduled_messages (scheduled_at) where status = 'pending';
        create policy p on scheduled_messages for select using (status <> 'failed');
        """,
        "status is public.state, not text",
    ),
    on_document(
        "a domain",
        """
        create domain state as text check (value in ('pending', 'processing', 'sent', 'failed'));
        alter table scheduled_messages alter status type state;
        """,
    ),
    altered("ten letters for a status", "alter status type varchar(10)"),
    # Widths and types.
    on_document(
        "short columns, a policy and a trigger on them",
        """
        alter table scheduled_messages alter error type varchar(100), alter message_id type varchar(40);
        create policy p on scheduled_messages for select using (error is null);
        create function f() returns trigger language plpgsql as 'begin return new; end';
        create trigger t before update of error on scheduled_messages for each row execute function f();
        """,
    ),
    on_document(
        "short columns, and a view of them",
        """
        alter table scheduled_messages alter error type varchar(100);
        create view failures as select id, error from scheduled_messages where error is not null;
        """,
        "error is character varying(100), which is too narrow",
    ),
    altered("a column of blanks", "alter status type char(12)", "status is character(12)"),
    altered(
        "times without a zone",
        "alter scheduled_at type timestamp, alter sent_at type timestamp",
        "scheduled_at is timestamp without time zone",
        "sent_at is timestamp without time zone",
    ),
    altered(
        "seconds since 1970",
        "alter scheduled_at type bigint using extract(epoch from scheduled_at)",
        "scheduled_at is bigint",
    ),
    altered(
        "names of ours for something else",
        "add series_id bigint, add revision text, add due_at date, add owner_id text",
        "series_id is bigint",
        "owner_id is text",
        "due_at is date",
        "revision is text",
    ),
    altered("media as jsonb, updated_at without a zone", "alter media type jsonb, add updated_at timestamp"),
    altered(
        "a generated column",
        "drop error, add error text generated always as (upper(message)) stored",
        "error is a generated column",
    ),
    altered("numbers for ids", "drop id, add id bigserial primary key", "id is bigint, not uuid"),
    altered("texts for ids", "alter id type text, alter id set default md5(random()::text)", "id is text"),
    Animal(
        "other names for everything",
        "create table scheduled_messages (id bigserial primary key, phone text, body text, send_at timestamptz, "
        "device_id text)",
        refused=(
            "no column connection_id",
            "no column contact_id",
            "no column message",
            "no column scheduled_at",
            "id is bigint",
        ),
    ),
    # Rules.
    on_document(
        "nothing may be null",
        """
        update scheduled_messages set error = '', sent_at = now(), message_id = coalesce(message_id, '');
        alter table scheduled_messages alter error set not null, alter error set default '',
            alter sent_at set not null, alter sent_at set default now(),
            alter message_id set not null, alter message_id set default '';
        """,
    ),
    on_document(
        "tenants",
        "create table tenants (id uuid primary key);"
        "insert into tenants values ('11111111-1111-4111-8111-111111111111');"
        "alter table scheduled_messages add tenant_id uuid not null "
        "default '11111111-1111-4111-8111-111111111111' references tenants (id)",
        tenant_id="11111111-1111-4111-8111-111111111111",
    ),
    altered(
        "checks of its own",
        "add check (length(error) < 200), add check (scheduled_at > created_at), "
        "add constraint future check (scheduled_at > now()), add check (message_id ~ '^[A-Z]')",
        "future",
        "scheduled_messages_message_id_check",
        "scheduled_messages_error_check",
    ),
    altered(
        "one message for each contact",
        "add unique (connection_id, contact_id)",
        "scheduled_messages_connection_id_contact_id_key",
    ),
    on_document(
        "one that waits for each contact",
        "create unique index one_waits on scheduled_messages (contact_id) where status = 'pending'",
        "one_waits",
    ),
    altered(
        "one that waits for each contact, by an exclusion",
        "add constraint one_waits exclude using btree (contact_id with =) where (status = 'pending')",
        "one_waits",
    ),
    on_document(
        "own policies",
        """
        alter table scheduled_messages enable row level security;
        create policy everybody on scheduled_messages for select using (true);
        create policy pending on scheduled_messages as restrictive for insert with check (status = 'pending');
        """,
    ),
    # Triggers.
    on_document(
        "not in the past",
        RAISES.format(
            name="not_in_the_past", when="new.scheduled_at < now()", words="not in the past", events="insert or update"
        ),
        "trigger not_in_the_past",
    ),
    on_document(
        "what is sent stays",
        """
        create function keep() returns trigger language plpgsql as $$ begin
            if old.status in ('sent', 'failed') then return null; end if; return new; end $$;
        create trigger keep before update on scheduled_messages for each row execute function keep();
        """,
        "trigger keep",
    ),
    on_document(
        "two triggers and a condition",
        RAISES.format(name="short_error", when="length(new.error) > 50", words="too long", events="update")
        + RAISES.format(name="signed_in", when="auth.uid() is null", words="sign in first", events="insert")
        + """
        drop trigger short_error on scheduled_messages;
        create trigger short_error before update on scheduled_messages for each row when (new.error is not null)
        execute function short_error();
        """,
        "trigger signed_in",
        "trigger short_error",
    ),
    on_document(
        "updated_at and created_by by triggers",
        """
        alter table scheduled_messages add updated_at timestamptz;
        create function touch() returns trigger language plpgsql as $$ begin
            new.updated_at := now(); new.created_by := coalesce(auth.uid(), new.created_by); return new; end $$;
        create trigger touch before insert or update on scheduled_messages for each row execute function touch();
        """,
    ),
    on_document(
        "outcomes in an order of its own, looked at in the end",
        """
        create function in_order() returns trigger language plpgsql as $$ begin
            if old.status = 'processing' and new.status not in ('sent', 'failed')
            then raise exception 'from % to %', old.status, new.status; end if; return null; end $$;
        create constraint trigger in_order after update on scheduled_messages
        deferrable initially deferred for each row execute function in_order();
        """,
        "trigger in_order",
    ),
    on_document(
        "a series by a trigger",
        NEXT_BY_ITSELF + "create trigger series after update on scheduled_messages for each row "
        "when (new.status = 'sent' and new.is_recurring) execute function next_by_itself();",
        "A trigger adds a message when a recurring one is sent",
    ),
    on_document(
        "a series by a trigger's procedure, in the end",
        NEXT_BY_ITSELF
        + """
        create function note() returns trigger language plpgsql as 'begin return new; end';
        create trigger note before update on scheduled_messages for each row execute function note();
        create constraint trigger series after update of status on scheduled_messages deferrable initially deferred
        for each row when (new.next_scheduled_at is not null and new.status in ('sent', 'failed'))
        execute function next_by_itself();
        """,
        "A trigger adds a message when a recurring one is sent",
    ),
    on_document(
        "a word of thanks after each message",
        """
        create function thank() returns trigger language plpgsql as $$ begin
            insert into public.scheduled_messages (connection_id, contact_id, message, scheduled_at)
            values (new.connection_id, new.contact_id, 'Thank you.', now() + interval '1 day');
            return null; end $$;
        create trigger thank after update on scheduled_messages for each row
        when (new.status = 'sent' and new.message <> 'Thank you.') execute function thank();
        """,
    ),
    # What is no table, or hardly one.
    on_document(
        "no key, no log, and a rule",
        """
        alter table scheduled_messages drop constraint scheduled_messages_pkey, alter id drop not null, set unlogged;
        create rule noted as on update to scheduled_messages do also select 1;
        """,
        "id is not unique",
        "scheduled_messages is unlogged",
        "The rule noted",
    ),
    Animal(
        "in parts",
        CONNECTIONS
        + MESSAGES.replace("id uuid primary key", "id uuid").replace(");\n", ") partition by range (scheduled_at);\n")
        + IN_PARTS,
        refused=("scheduled_messages is partitioned",),
    ),
    on_document(
        "a table that inherits",
        """
        create table archive () inherits (scheduled_messages);
        insert into archive (connection_id, contact_id, message, scheduled_at)
        values ('a', '1', 'Before us', '2099-01-03');
        """,
        "archive inherits from public.scheduled_messages",
    ),
    with_jobs(
        "tables that inherit, of connections and jobs too",
        """
        create table devices (model text) inherits (connections); insert into devices (id, name) values ('d', 'd');
        create table old_jobs (primary key (id)) inherits (broadcast_jobs);
        create table old_messages (job uuid references old_jobs) inherits (broadcast_messages);
        """,
        "devices inherits from public.connections",
        "old_jobs inherits from public.broadcast_jobs",
        "old_messages inherits from public.broadcast_messages",
    ),
    Animal(
        "a view of another table",
        DOCUMENT + "alter table scheduled_messages rename to messages;"
        "create view scheduled_messages as select * from messages",
        refused=("scheduled_messages is a view",),
    ),
    # Connections and contacts.
    Animal("uuids for connections", DOCUMENT.replace("id text primary key", "id uuid primary key")),
    Animal(
        "numbers for connections",
        DOCUMENT.replace("id text primary key", "id bigserial primary key").replace(OLD, "99")
        + """
        alter table scheduled_messages alter connection_id type bigint using connection_id::bigint,
            add foreign key (connection_id) references connections (id) on delete cascade;
        create policy p on scheduled_messages for all using (
            exists (select from connections as c where c.id = connection_id and c.user_id = auth.uid()::text)
        );
        """,
        refused=("connection_id is bigint, not text",),
    ),
    Animal(
        "a view of connections",
        DOCUMENT + "alter table connections rename to devices;create view connections as select * from devices",
    ),
    with_contacts(
        "uuids for contacts, nothing of blocking",
        "create table contacts (id uuid primary key default gen_random_uuid(), owner_id uuid, phone_number text)",
        "insert into contacts (owner_id, phone_number) values (%(user)s, '919876543210') returning id",
    ),
    with_contacts(
        "a view of contacts, numbers and user_id",
        PEOPLE,
        "insert into people values (7, %(user)s, 919876543210, 'Asha') returning id",
    ),
    with_contacts(
        "texts for contacts and owners",
        "create table contacts (id text primary key, owner_id text, phone_number varchar(15), is_blocked text)",
        "insert into contacts values ('asha', %(user)s, '919876543210', 'false') returning id",
    ),
    with_contacts("contacts of another kind", "create table contacts (id serial primary key, email text not null)", ""),
    # The broadcast tables.
    with_jobs("upstream's first shape", ""),
    with_jobs(
        "message_ids as text, media",
        "alter table broadcast_messages add message_ids text, add data jsonb;alter table broadcast_jobs add media text",
    ),
    with_jobs(
        "upstream's described shape: all is required",
        """
        alter table broadcast_jobs alter connection_id set not null, alter message set not null, drop contacts,
            add schedule timestamptz, add speed text not null default 'normal', add progress integer not null default 0,
            add completed_at timestamptz;
        alter table broadcast_messages alter job_id set not null, alter status set not null, drop sent_at;
        """,
    ),
    with_jobs(
        "rules for broadcasts",
        """
        alter table broadcast_jobs add campaign_id uuid not null, add check (type in ('text', 'media')),
            add check (status in ('queued', 'active', 'completed')), alter status type varchar(9);
        alter table broadcast_messages add queued_by text not null, add check (status in ('pending', 'sent', 'failed')),
            alter error type varchar(50), alter message_id type varchar(30);
        """,
    ),
    with_jobs(
        "jobs of a connection",
        "alter table connections add plan text not null default 'free', add region text not null default 'x';"
        "alter table connections alter region drop default;"
        "alter table broadcast_jobs add foreign key (connection_id) references connections (id) on delete cascade",
    ),
    with_jobs(
        "statuses of broadcasts as an enum",
        """
        create type job_state as enum ('queued', 'active', 'completed');
        alter table broadcast_jobs alter status drop default, alter status type job_state using status::job_state,
            alter status set default 'queued';
        """,
        "status is public.job_state",
    ),
    with_jobs(
        "numbers for jobs",
        "alter table broadcast_messages drop job_id; alter table broadcast_jobs drop id, add id bigserial primary key;"
        "alter table broadcast_messages add job_id bigint references broadcast_jobs (id)",
        "broadcast_jobs.id is bigint",
        "broadcast_messages.job_id is bigint",
    ),
    with_jobs(
        "a view of jobs",
        "alter table broadcast_jobs rename to jobs; create view broadcast_jobs as select * from jobs",
        "broadcast_jobs is a view",
        "The foreign key broadcast_messages_job_id_fkey",
    ),
    with_jobs(
        "one job a connection, for contacts alone",
        """
        create table contacts (id serial primary key, owner_id uuid, phone_number text unique);
        alter table broadcast_messages add foreign key (contact) references contacts (phone_number);
        alter table broadcast_jobs add unique (connection_id, type), add total_contacts integer;
        create function not_alone() returns trigger language plpgsql as $$ begin
            if new.total_contacts < 2 then raise exception 'several contacts, please'; end if; return new; end $$;
        create trigger not_alone before insert on broadcast_jobs for each row execute function not_alone();
        """,
        "The foreign key broadcast_messages_contact_fkey",
        "trigger not_alone",
        "broadcast_jobs_connection_id_type_key",
    ),
    # Rights.
    on_document(
        "numbers that the service key may not take",
        JOBS
        + """
        alter table scheduled_messages add number serial not null;
        alter table broadcast_jobs add number serial not null;
        revoke all on sequence scheduled_messages_number_seq, broadcast_jobs_number_seq
        from service_role, authenticated, anon;
        """,
    ),
    on_document("a list of changes that the service key may not write", AUDIT, "audit", "audit_number_seq"),
    # Names.
    with_contacts(
        "names that our statements use",
        f"""
        {JOBS} create table contacts (id serial primary key, owner_id uuid, phone_number text, is_blocked text);
        alter table scheduled_messages {NAMED}, {WORKED_OUT}; alter table broadcast_jobs {NAMED};
        alter table broadcast_messages {NAMED}; alter table connections {NAMED}; alter table contacts {NAMED};
        """,
        "insert into contacts (owner_id, phone_number, is_blocked) values (%(user)s, '919876543210', '') returning id",
    ),
    Animal(
        "functions, types and a schema of our names",
        """
        create function diagnose() returns text language sql as 'select ''well''';
        create function get_pending_scheduled_messages() returns integer language sql as 'select 1';
        create table connection_settings (id integer);
        create schema private; create table private.connection_state (x integer);
        create view private.connection_owners as select 1 as x; create table private.timezones (x integer);
        create function private.guard_insert() returns integer language sql as 'select 1';
        create type contacts as (name text);
        """,
        refused=(
            "public.connection_settings is another table",
            "private.connection_owners is another table",
            "private.connection_state is another table",
            "private.timezones is another table",
            "public.contacts is a type",
            "diagnose() is a function of this project",
            "private.guard_insert() is a function of this project",
        ),
    ),
    on_document(
        "appointments, campaigns and a category",
        """
        create table campaigns (id uuid primary key default gen_random_uuid(), name text);
        create table appointments (id uuid primary key default gen_random_uuid(), starts_at timestamptz, status text);
        alter table scheduled_messages add category text not null default 'reminder',
            add campaign_id uuid references campaigns (id);
        """,
        category="appointment",
    ),
]

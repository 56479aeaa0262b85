-- A single message may use a template: it is rendered when it is written, and again while it waits
-- when its template, its values or its contact change. The core sends what stands in the row.
-- Locks: `add column` takes `access exclusive` on scheduled_messages for an instant, `create
-- trigger` `share row exclusive` there and on contacts.
set local lock_timeout = '1s';

alter table public.scheduled_messages
add column if not exists template_id uuid,
add column if not exists variables jsonb;
comment on column public.scheduled_messages.template_id is
'scheduled messages: the template that this message is rendered from.';
comment on column public.scheduled_messages.variables is
'scheduled messages: the values of this message''s template.';
alter table public.scheduled_messages
drop constraint if exists scheduled_messages_variables_object;
alter table public.scheduled_messages
add constraint scheduled_messages_variables_object check (
    variables is null
    or (jsonb_typeof(variables) = 'object' and length(variables::text) <= 16384)
) not valid;
comment on constraint scheduled_messages_variables_object on public.scheduled_messages is
'The variables are an object of names and values, at most 16 kB of it.';
-- Without rows there is nothing to wait for.
do $$
begin
    if not exists (select 1 from public.scheduled_messages) then
        alter table public.scheduled_messages
        validate constraint scheduled_messages_variables_object;
    end if;
end
$$;
select private.write_refusals();

-- The template that a message may use: the connection's owner's, for this connection or for all.
-- One that is another's is none. As private.guard_campaign has it.
create or replace function private.usable_template(
    p_message public.scheduled_messages, p_by_user boolean
)
returns public.message_templates
language sql
stable
set search_path = ''
as $$
    select template.*
    from public.message_templates as template
    cross join lateral (
        select coalesce(
            private.connection_owner(p_message.connection_id), p_message.owner_id, auth.uid()
        ) as id
    ) as owner
    where template.id = p_message.template_id
        and template.owner_id = owner.id
        and (template.connection_id is null or template.connection_id = p_message.connection_id)
        and (
            not p_by_user
            or owner.id = auth.uid()
            or (p_message.connection_id, owner.id) in (
                select
                    mine.connection_id,
                    mine.owner_id
                from private.my_connections() as mine
            )
        )
$$;

-- What a message is with its template, and why it cannot be rendered (then it stays as it is). Its
-- values are its own, else its contact's (`p_given`), else the template's defaults.
create or replace function private.render_with(
    p_message public.scheduled_messages, p_template public.message_templates, p_given jsonb,
    out rendered public.scheduled_messages, out fault text
)
language plpgsql
stable
set search_path = ''
as $$
declare
    v_values jsonb;
    v_needed text[];
    v_text text;
begin
    rendered := p_message;
    if p_template.id is null then
        fault := 'There is no such template for this connection. Choose another one.';
        return;
    end if;
    v_values := private.values_of(p_template.defaults)
        || coalesce(p_given, '{}')
        || private.values_of(p_message.variables);
    v_needed := case when p_template.on_missing = 'fault' then p_template.variables else '{}' end
        || case when private.goes_by_cloud(p_message.connection_id)
            then private.names_of_approved(p_template.cloud) else '{}' end;
    if not v_values ?& v_needed then
        select 'No value for {' || string_agg(distinct lacking.name, '}, {') || '}.' into fault
        from unnest(v_needed) as lacking (name)
        where not v_values ? lacking.name;
        return;
    end if;
    v_text := private.render(p_template.parts, v_values);
    rendered.type := p_template.type;
    rendered.media_url := p_template.media_url;
    rendered.message := case when p_template.type = 'text' then v_text else '' end;
    rendered.caption := case when p_template.type <> 'text' then nullif(v_text, '') end;
    rendered.category := p_template.category;
    rendered.template := private.fill_approved(
        p_template.cloud, v_values, p_template.media_url
    );
end
$$;

-- Whether a contact of this owner counts for a message: its owner's, its author's, the template's,
-- as when the message is sent.
create or replace function private.is_contact_of(
    p_owner text, p_message public.scheduled_messages, p_template public.message_templates
)
returns boolean
language sql
stable
set search_path = ''
as $$
    select p_owner in (
        coalesce(p_message.owner_id, auth.uid())::text,
        coalesce(p_message.created_by, auth.uid())::text,
        p_template.owner_id::text
    )
$$;

-- Called with 'user' for users, whom it refuses what cannot be rendered; anybody else's message
-- fails, with the same words, and so does one that its template or its contact has made impossible.
-- What is being sent stays as it is.
create or replace function private.render_message()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_template public.message_templates;
    v_given jsonb;
    v_made record;
begin
    if tg_op = 'UPDATE' and (
        old.status in ('sent', 'unconfirmed')
        or old.source_id is not null
        or (old.broadcast_job_id is not null and not private.withdraw_job(old.broadcast_job_id))
    ) then
        return new; -- the guards know what to say of it
    end if;
    v_template := private.usable_template(new, v_by_user);
    if v_template.id is not null then
        select person.given into v_given
        from private.people(
            array[new.contact_id],
            v_template.variables || private.names_of_approved(v_template.cloud)
        ) as person
        where private.is_contact_of(person.owner, new, v_template);
    end if;
    select made.* into v_made from private.render_with(new, v_template, v_given) as made;
    if v_made.fault is null then
        return v_made.rendered;
    elsif v_by_user then
        raise exception using message = v_made.fault,
            errcode = case when v_template.id is null then '42501' else 'PT400' end;
    end if;
    new.message := coalesce(new.message, '');
    if new.status = 'pending' then
        new.status := 'failed';
        new.error := v_made.fault;
    end if;
    return new;
end
$$;
revoke all on function private.usable_template, private.render_with, private.is_contact_of,
private.render_message from public;

-- Before the guards, by the name: they see what the message has become. What render_again writes is
-- rendered already.
create or replace trigger b_render_new before insert on public.scheduled_messages
for each row when (
    new.template_id is not null
    and row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
) execute function private.render_message('user');
create or replace trigger b_render_new_by_service before insert on public.scheduled_messages
for each row when (
    new.template_id is not null
    and not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
) execute function private.render_message();
create or replace trigger b_render_changed before update on public.scheduled_messages
for each row when (
    new.template_id is not null
    and (
        (old.status <> 'pending' and new.status = 'pending')
        or (
            old.template_id, old.variables, old.connection_id, old.contact_id, old.type,
            old.message, old.caption, old.media_url, old.category, old.template
        ) is distinct from (
            new.template_id, new.variables, new.connection_id, new.contact_id, new.type,
            new.message, new.caption, new.media_url, new.category, new.template
        )
    )
    and row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
) execute function private.render_message('user');
create or replace trigger b_render_changed_by_service before update on public.scheduled_messages
for each row when (
    new.template_id is not null
    and (
        (old.status <> 'pending' and new.status = 'pending')
        or (
            old.template_id, old.variables, old.connection_id, old.contact_id, old.type,
            old.message, old.caption, old.media_url, old.category, old.template
        ) is distinct from (
            new.template_id, new.variables, new.connection_id, new.contact_id, new.type,
            new.message, new.caption, new.media_url, new.category, new.template
        )
    )
    and not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
    and current_setting('scheduled_messages.is_rendered', true) is distinct from 'on'
) execute function private.render_message();

-- These messages as they are rendered anew: those that wait, and those that could not be rendered
-- and are still to come. What is being sent, or may have gone out, is not among them; of the others
-- the jobs are taken back. Their contacts are read once: ten thousand may wait for one text.
create or replace function private.rendered_anew(p_messages uuid[])
returns table (id uuid, rendered public.scheduled_messages, fault text)
language plpgsql
volatile
set search_path = ''
set enable_seqscan = off
set enable_nestloop = off -- each message meets its contact, and there are no statistics
as $$
begin
    return query
    with open as materialized (
        select whole_row as message
        from public.scheduled_messages as whole_row
        where whole_row.id = any(p_messages)
            and whole_row.source_id is null
            and (
                whole_row.status in ('pending', 'processing')
                or (
                    whole_row.status = 'failed'
                    and whole_row.broadcast_job_id is null
                    and whole_row.scheduled_at > now()
                    and whole_row.error ~ '^(No value for \{|There is no such template )'
                    and not exists (
                        select from auth.users as u
                        where u.id in (whole_row.owner_id, whole_row.created_by)
                            and private.is_suspended(to_jsonb(u))
                    )
                )
            )
        order by whole_row.id
        for no key update
    ),
    waiting as materialized (
        select
            open.message,
            (open.message).contact_id,
            private.usable_template(open.message, false) as template
        from open
        where (open.message).broadcast_job_id is null or (
            private.withdraw_job((open.message).broadcast_job_id)
            and not private.may_have_gone_out((open.message).broadcast_job_id)
        )
    ),
    person as materialized (
        select found.*
        from private.people(
            array(select distinct waiting.contact_id from waiting),
            array(
                select distinct unnest(
                    (waiting.template).variables
                    || private.names_of_approved((waiting.template).cloud)
                )
                from waiting
            )
        ) as found
    ),
    made as materialized (
        select private.render_with(waiting.message, waiting.template, case
            when private.is_contact_of(person.owner, waiting.message, waiting.template)
                then person.given
        end) as it
        from waiting
        left join person on person.contact_id = waiting.contact_id
    )
    select
        ((made.it).rendered).id,
        (made.it).rendered,
        (made.it).fault
    from made;
end
$$;

-- An exception takes the setting back with all else.
create or replace function private.render_again(p_messages uuid[])
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
begin
    perform set_config('scheduled_messages.is_rendered', 'on', true);
    update public.scheduled_messages as message
    set
        status = case when made.fault is null then 'pending' else 'failed' end,
        error = made.fault,
        type = (made.rendered).type,
        message = (made.rendered).message,
        caption = (made.rendered).caption,
        media_url = (made.rendered).media_url,
        category = (made.rendered).category,
        template = (made.rendered).template
    from private.rendered_anew(p_messages) as made
    where message.id = made.id;
    perform set_config('scheduled_messages.is_rendered', '', true);
end
$$;
revoke all on function private.rendered_anew from public;
revoke all on function private.render_again from public;

-- A template that is gone leaves what it has said.
create or replace function private.render_after_template()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_seqscan = off
as $$
begin
    if tg_op = 'DELETE' then
        update public.scheduled_messages as message
        set
            template_id = null,
            variables = null
        where message.template_id = old.id and message.status = 'pending';
    else
        perform private.render_again(array(
            select message.id
            from public.scheduled_messages as message
            where message.template_id = new.id
        ));
    end if;
    return null;
end
$$;
revoke all on function private.render_after_template from public;

create or replace trigger render_after_template after update on public.message_templates
for each row when (
    (old.version, old.connection_id) is distinct from (new.version, new.connection_id)
) execute function private.render_after_template();
create or replace trigger render_after_deletion after delete on public.message_templates
for each row execute function private.render_after_template();

create or replace function private.render_after_contact()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_seqscan = off
as $$
begin
    perform private.render_again(array(
        select message.id
        from public.scheduled_messages as message
        where message.contact_id = new.id::text and message.template_id is not null
    ));
    return null;
end
$$;
revoke all on function private.render_after_contact from public;

-- Of a project's contacts, its name and its number, where it has them.
do $outer$
declare
    v_columns text;
begin
    select string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
    into v_columns
    from pg_attribute as a
    join pg_class as c on c.oid = a.attrelid and c.relkind in ('r', 'p')
    where a.attrelid = 'public.contacts'::regclass
        and a.attname in ('contact_name', 'phone_number')
        and not a.attisdropped;
    if v_columns is not null then
        execute format(
            'create or replace trigger render_after_contact after update on public.contacts '
            'for each row when (%s) execute function private.render_after_contact()',
            v_columns
        );
    end if;
end
$outer$;

-- Front ends and the daemon's wake hear changes of the table where the project has Realtime;
-- policies decide who hears what. Where another role's is the publication, nothing changes, and the
-- doctor says so: polls carry on.
-- Locks: `share update exclusive` for an instant.
do $$
begin
    if exists (
        select 1 from pg_publication as p
        where p.pubname = 'supabase_realtime'
            and not p.puballtables
            and pg_has_role(p.pubowner, 'usage')
    ) and not exists (
        select 1 from pg_publication_tables as p
        where p.pubname = 'supabase_realtime'
            and p.schemaname = 'public'
            and p.tablename = 'scheduled_messages'
    ) then
        alter publication supabase_realtime add table public.scheduled_messages;
    end if;
end
$$;

notify pgrst, 'reload schema';

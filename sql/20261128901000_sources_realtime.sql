-- Pages hear how campaigns and appointments go, as they hear of messages, where the project has
-- Realtime and the publication is ours to change.
-- Locks: `share update exclusive` for an instant.
do $$
declare
    v_table text;
begin
    if not exists (
        select 1 from pg_publication as p
        where p.pubname = 'supabase_realtime'
            and not p.puballtables
            and pg_has_role(p.pubowner, 'usage')
    ) then
        return;
    end if;
    foreach v_table in array array['appointments', 'campaign_runs', 'campaigns'] loop
        if not exists (
            select 1 from pg_publication_tables as p
            where p.pubname = 'supabase_realtime'
                and p.schemaname = 'public'
                and p.tablename = v_table
        ) then
            execute format('alter publication supabase_realtime add table public.%I', v_table);
        end if;
    end loop;
end
$$;

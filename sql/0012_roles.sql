-- Who may do what. Group roles without login: grant them to those who log in.

do $$
declare
  wanted text;
begin
  foreach wanted in array array['policyd_owner', 'policyd_editor', 'policyd_service', 'policyd_reader'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
      begin
        execute format('create role %I nologin', wanted);
      exception
        when duplicate_object or unique_violation then null;
        when insufficient_privilege then
          raise warning 'role % is missing and may not be created here: create it, then call policy.grant_access()', wanted;
      end;
    end if;
  end loop;
end $$;

create table policy.privilege (
  role text not null,
  privilege text not null,
  constraint privileges_are_listed_once primary key (role, privilege)
);
comment on table policy.privilege is
  'What each role may do. A migration that makes something adds rows here and calls policy.grant_access().';
comment on column policy.privilege.role is 'policyd_owner, policyd_editor, policyd_service or policyd_reader';
comment on column policy.privilege.privilege is 'what stands between GRANT and TO';

create procedure policy.grant_access() language plpgsql set search_path = '' as $$
declare
  granted record;
begin
  for granted in
    select p.role, p.privilege
    from policy.privilege as p join pg_catalog.pg_roles as r on r.rolname = p.role
    order by p.role, p.privilege
  loop
    execute format('grant usage on schema policy to %I', granted.role);
    execute format('grant %s to %I', granted.privilege, granted.role);
  end loop;
end $$;
comment on procedure policy.grant_access() is
  'Gives the roles that exist what policy.privilege lists. To be repeated after roles were created by hand.';
revoke execute on procedure policy.grant_access() from public;

do $$
declare
  rows_ text := 'policy.listener_domain, policy.egress_source, policy.egress_source_group, policy.egress_pool, '
    'policy.egress_pool_entry, policy.egress_pool_group, policy.egress_pool_group_entry, policy.tenant, policy.tenant_campaign, '
    'policy.queue, policy.queue_tenant, policy.queue_campaign, policy.queue_settings';
  records text := 'policy.revision, policy.change, policy.log_window, policy.option, policy.migration, policy.node';
  documents text := 'policy.listener_domain_document, policy.egress_source_document, policy.egress_pool_document, '
    'policy.tenant_document, policy.queue_document, policy.queue_settings_document';
  token_without_hash text := 'select (name, scopes, networks, domains, expires_at, created_at, tag) on policy.api_token';
begin
  insert into policy.privilege (role, privilege) values
    ('policyd_owner', format('select, insert, update, delete on %s, policy.api_token, policy.node', rows_)),
    ('policyd_owner', format('select on %s, %s, policy.api_token_document', records, documents)),
    ('policyd_owner', 'execute on function policy.invalidate(text, text), policy.prune(bigint)'),
    ('policyd_editor', format('select, insert, update, delete on %s', rows_)),
    ('policyd_editor', format('select on %s, %s', records, documents)),
    ('policyd_editor', token_without_hash),
    ('policyd_editor', 'execute on function policy.invalidate(text, text)'),
    ('policyd_service', format('select on %s, %s, %s, policy.api_token, policy.api_token_document', rows_, records, documents)),
    ('policyd_service', 'insert, update on policy.node'),
    ('policyd_reader', format('select on %s, %s, %s', rows_, records, documents)),
    ('policyd_reader', token_without_hash);
end $$;
call policy.grant_access();

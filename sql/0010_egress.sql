-- Egress sources and pools: from where mail leaves.

create table policy.egress_source (
  name text constraint egress_sources_are_unique primary key
    constraint name_is_1_to_255_characters_trimmed_without_controls check (policy.is_name(name)),
  ehlo_domain text,
  source_address text,
  remote_port integer,
  ha_proxy_server text,
  ha_proxy_source_address text,
  socks5_proxy_server text,
  socks5_proxy_source_address text,
  socks5_proxy_username text,
  socks5_proxy_password jsonb,
  suspend_when_unplumbed jsonb,
  suspend_when_proxy_unhealthy jsonb,
  tag text not null generated always as ('egress_source/*/' || replace(replace(name, '%', '%25'), '/', '%2F')) stored
    constraint egress_source_documents_are_unique unique,
  constraint the_source_unspecified_is_kumomtas_own_and_takes_no_settings check (
    name <> 'unspecified' or num_nonnulls(
      ehlo_domain, source_address, remote_port, ha_proxy_server, ha_proxy_source_address, socks5_proxy_server,
      socks5_proxy_source_address, socks5_proxy_username, socks5_proxy_password, suspend_when_unplumbed,
      suspend_when_proxy_unhealthy) = 0)
);
comment on table policy.egress_source is
  'A place that mail leaves from: parameters of kumo.make_egress_source. unspecified is KumoMTA''s own: the host''s address.';
comment on column policy.egress_source.name is 'its name, which queue names and logs carry';
comment on column policy.egress_source.ehlo_domain is 'the name to greet with';
comment on column policy.egress_source.source_address is 'the address to send from; it stays with the name: make a new source for a new address';
comment on column policy.egress_source.remote_port is 'the port to connect to';
comment on column policy.egress_source.ha_proxy_server is 'HAProxy to send through, ip:port';
comment on column policy.egress_source.ha_proxy_source_address is 'the address that it sends from; needed with the server';
comment on column policy.egress_source.socks5_proxy_server is 'SOCKS5 proxy to send through, ip:port';
comment on column policy.egress_source.socks5_proxy_source_address is 'the address that it sends from; needed with the server';
comment on column policy.egress_source.socks5_proxy_username is 'for the SOCKS5 proxy; needed with the password';
comment on column policy.egress_source.socks5_proxy_password is '{"secret": NAME}, resolved in each nodes setup';
comment on column policy.egress_source.suspend_when_unplumbed is 'pause where the address is missing: {"duration": "5m", …}';
comment on column policy.egress_source.suspend_when_proxy_unhealthy is 'pause where the proxy fails: {"duration": "5m", …}';
comment on column policy.egress_source.tag is 'its document';

create table policy.egress_source_group (
  name text not null constraint name_is_not_unspecified check (name <> 'unspecified')
    constraint the_source_exists references policy.egress_source on delete cascade on update cascade,
  node_group text not null constraint node_group_is_letters_digits_dot_underscore_hyphen check (policy.is_node_name(node_group)),
  ehlo_domain text,
  source_address text,
  remote_port integer,
  ha_proxy_server text,
  ha_proxy_source_address text,
  socks5_proxy_server text,
  socks5_proxy_source_address text,
  socks5_proxy_username text,
  socks5_proxy_password jsonb,
  suspend_when_unplumbed jsonb,
  suspend_when_proxy_unhealthy jsonb,
  tag text not null generated always as ('egress_source/' || node_group || '/' || replace(replace(name, '%', '%25'), '/', '%2F')) stored
    constraint egress_source_group_documents_are_unique unique,
  constraint egress_sources_are_unique_in_a_group primary key (name, node_group)
);
comment on table policy.egress_source_group is
  'A source as one group of nodes has it, instead of the row in policy.egress_source, because nodes have different addresses.';
comment on column policy.egress_source_group.name is 'an existing source';
comment on column policy.egress_source_group.node_group is 'the group of nodes';
comment on column policy.egress_source_group.ehlo_domain is 'the name to greet with';
comment on column policy.egress_source_group.source_address is 'the address to send from; it stays with the name: make a new source for a new address';
comment on column policy.egress_source_group.remote_port is 'the port to connect to';
comment on column policy.egress_source_group.ha_proxy_server is 'HAProxy to send through, ip:port';
comment on column policy.egress_source_group.ha_proxy_source_address is 'the address that it sends from; needed with the server';
comment on column policy.egress_source_group.socks5_proxy_server is 'SOCKS5 proxy to send through, ip:port';
comment on column policy.egress_source_group.socks5_proxy_source_address is 'the address that it sends from; needed with the server';
comment on column policy.egress_source_group.socks5_proxy_username is 'for the SOCKS5 proxy; needed with the password';
comment on column policy.egress_source_group.socks5_proxy_password is '{"secret": NAME}, resolved in each nodes setup';
comment on column policy.egress_source_group.suspend_when_unplumbed is 'pause where the address is missing: {"duration": "5m", …}';
comment on column policy.egress_source_group.suspend_when_proxy_unhealthy is 'pause where the proxy fails: {"duration": "5m", …}';
comment on column policy.egress_source_group.tag is 'its document';

create table policy.egress_pool (
  name text constraint egress_pools_are_unique primary key
    constraint name_is_1_to_255_characters_trimmed_without_controls check (policy.is_name(name))
    constraint policyd_hold_is_reserved check (name <> 'policyd-hold'),
  tag text not null generated always as ('egress_pool/*/' || replace(replace(name, '%', '%25'), '/', '%2F')) stored
    constraint egress_pool_documents_are_unique unique
);
comment on table policy.egress_pool is
  'A pool of sources. unspecified is KumoMTA''s own: the host''s address. A pool without entries holds all its mail.';
comment on column policy.egress_pool.name is 'its name';
comment on column policy.egress_pool.tag is 'its document';

create table policy.egress_pool_entry (
  pool text not null constraint the_pool_unspecified_has_no_entries check (pool <> 'unspecified')
    constraint the_pool_exists references policy.egress_pool on delete cascade on update cascade,
  source text not null constraint the_source_exists references policy.egress_source on update cascade,
  weight integer constraint weight_is_not_negative check (weight >= 0),
  tag text not null generated always as ('egress_pool/*/' || replace(replace(pool, '%', '%25'), '/', '%2F')) stored,
  constraint sources_stand_once_in_a_pool primary key (pool, source)
);
create index egress_pool_entry_source on policy.egress_pool_entry (source);
comment on table policy.egress_pool_entry is 'Which sources a pool has.';
comment on column policy.egress_pool_entry.pool is 'the pool';
comment on column policy.egress_pool_entry.source is 'the source';
comment on column policy.egress_pool_entry.weight is 'its share; null: 1 as KumoMTA has it; 0: excluded';
comment on column policy.egress_pool_entry.tag is 'the document that it is part of: the pool';

create table policy.egress_pool_group (
  name text not null constraint name_is_not_unspecified check (name <> 'unspecified')
    constraint the_pool_exists references policy.egress_pool on delete cascade on update cascade,
  node_group text not null constraint node_group_is_letters_digits_dot_underscore_hyphen check (policy.is_node_name(node_group)),
  tag text not null generated always as ('egress_pool/' || node_group || '/' || replace(replace(name, '%', '%25'), '/', '%2F')) stored
    constraint egress_pool_group_documents_are_unique unique,
  constraint egress_pools_are_unique_in_a_group primary key (name, node_group)
);
comment on table policy.egress_pool_group is
  'A pool as one group of nodes has it: its entries in policy.egress_pool_group_entry stand instead of the others.';
comment on column policy.egress_pool_group.name is 'an existing pool';
comment on column policy.egress_pool_group.node_group is 'the group of nodes';
comment on column policy.egress_pool_group.tag is 'its document';

create table policy.egress_pool_group_entry (
  pool text not null,
  node_group text not null,
  source text not null constraint the_source_exists references policy.egress_source on update cascade,
  weight integer constraint weight_is_not_negative check (weight >= 0),
  tag text not null generated always as ('egress_pool/' || node_group || '/' || replace(replace(pool, '%', '%25'), '/', '%2F')) stored,
  constraint sources_stand_once_in_a_pool_of_a_group primary key (pool, node_group, source),
  constraint the_pool_exists_in_the_group foreign key (pool, node_group)
    references policy.egress_pool_group on delete cascade on update cascade
);
create index egress_pool_group_entry_source on policy.egress_pool_group_entry (source);
comment on table policy.egress_pool_group_entry is 'Which sources a pool has in a group of nodes.';
comment on column policy.egress_pool_group_entry.pool is 'the pool';
comment on column policy.egress_pool_group_entry.node_group is 'the group of nodes';
comment on column policy.egress_pool_group_entry.source is 'the source';
comment on column policy.egress_pool_group_entry.weight is 'its share; null: 1 as KumoMTA has it; 0: excluded';
comment on column policy.egress_pool_group_entry.tag is 'the document that it is part of: the pool in the group';

create function policy.warn_moved_source() returns trigger language plpgsql set search_path = '' as $$
declare
  moved text;
begin
  select string_agg(quote_literal(x.name), ', ' order by x.name) into moved
  from (
    select n.name from new_rows as n join old_rows as o on o.tag = n.tag
    where (o.source_address, o.ehlo_domain, o.ha_proxy_server, o.ha_proxy_source_address,
           o.socks5_proxy_server, o.socks5_proxy_source_address)
       is distinct from (n.source_address, n.ehlo_domain, n.ha_proxy_server, n.ha_proxy_source_address,
           n.socks5_proxy_server, n.socks5_proxy_source_address)
      and (exists (select from policy.egress_pool_entry as e where e.source = n.name)
           or exists (select from policy.egress_pool_group_entry as e where e.source = n.name))
    limit 20) as x;
  if moved is not null then
    raise warning using
      message = format('source %s is in use: live queues keep the address and EHLO name that they began with', moved),
      hint = 'To move traffic now, add a source with the new address and put it into the pools instead of this one.';
  end if;
  return null;
end $$;
comment on function policy.warn_moved_source() is
  't400: a used source''s new address does not reach a live ready queue (seen on a running kumod); says what does.';

call policy.watch('policy.egress_source', 'egress_source');
call policy.watch('policy.egress_source_group', 'egress_source');
call policy.watch('policy.egress_pool');
call policy.watch('policy.egress_pool_entry');
call policy.watch('policy.egress_pool_group');
call policy.watch('policy.egress_pool_group_entry');
create trigger t400_warn_moved_source after update on policy.egress_source referencing old table as old_rows new table as new_rows
  for each statement execute function policy.warn_moved_source();
create trigger t400_warn_moved_source after update on policy.egress_source_group referencing old table as old_rows new table as new_rows
  for each statement execute function policy.warn_moved_source();

insert into policy.egress_source (name) values ('unspecified');
insert into policy.egress_pool (name) values ('unspecified');
create trigger t050_keep_unspecified before delete on policy.egress_source for each row when (old.name = 'unspecified')
  execute function policy.keep('egress_source unspecified cannot be deleted or renamed: KumoMTA itself answers this name, with the host''s own address');
create trigger t050_keep_unspecified_name before update on policy.egress_source for each row
  when (old.name = 'unspecified' and new.name <> 'unspecified')
  execute function policy.keep('egress_source unspecified cannot be deleted or renamed: KumoMTA itself answers this name, with the host''s own address');
create trigger t050_keep_unspecified before delete on policy.egress_pool for each row when (old.name = 'unspecified')
  execute function policy.keep('egress_pool unspecified cannot be deleted or renamed: KumoMTA itself answers this name, with the host''s own address');
create trigger t050_keep_unspecified_name before update on policy.egress_pool for each row
  when (old.name = 'unspecified' and new.name <> 'unspecified')
  execute function policy.keep('egress_pool unspecified cannot be deleted or renamed: KumoMTA itself answers this name, with the host''s own address');

create view policy.egress_source_document as
select s.tag, policy.record('egress_source', to_jsonb(s)) as body from policy.egress_source as s
union all
select s.tag, policy.record('egress_source', to_jsonb(s)) from policy.egress_source_group as s;
comment on view policy.egress_source_document is 'Parameters of kumo.make_egress_source.';
comment on column policy.egress_source_document.tag is 'the document';
comment on column policy.egress_source_document.body is 'what it says';

create view policy.egress_pool_document as
select p.tag, jsonb_build_object('name', p.name, 'entries', coalesce((
  select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('name', e.source, 'weight', e.weight)) order by e.source collate "C")
  from policy.egress_pool_entry as e where e.pool = p.name), '[]')) as body
from policy.egress_pool as p
union all
select p.tag, jsonb_build_object('name', p.name, 'entries', coalesce((
  select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('name', e.source, 'weight', e.weight)) order by e.source collate "C")
  from policy.egress_pool_group_entry as e where e.pool = p.name and e.node_group = p.node_group), '[]'))
from policy.egress_pool_group as p;
comment on view policy.egress_pool_document is 'Parameters of kumo.make_egress_pool, entries ordered by name.';
comment on column policy.egress_pool_document.tag is 'the document';
comment on column policy.egress_pool_document.body is 'what it says';

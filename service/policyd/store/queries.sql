-- documents --
-- The log's head with the newest breaking migration (first row), then each wanted document that exists, in one snapshot.
select null as tag, (select max(number) from policy.migration where breaking)::text as body, head.number, head.stamp
  from (select number, stamp from policy.revision order by number desc limit 1) head
union all
select tag, body::text, null, null from policy.listener_domain_document where tag = any($1::text[])
union all
select tag, body::text, null, null from policy.egress_source_document where tag = any($2::text[])
union all
select tag, body::text, null, null from policy.egress_pool_document where tag = any($3::text[])
union all
select tag, body::text, null, null from policy.tenant_document where tag = any($4::text[])
union all
select tag, body::text, null, null from policy.queue_settings_document where tag = any($5::text[])
union all
select tag, body::text, null, null from policy.queue_document where tag = any($6::text[])
union all
select tag, body::text, null, null from policy.api_token_document where tag = any($7::text[])
union all
select tag, body::text, null, null from policy.shaping_document where tag = any($8::text[])
union all
select tag, body::text, null, null from policy.webhook_document where tag = any($9::text[])
union all
select tag, body::text, null, null from policy.smtp_credential_document where tag = any($10::text[])
union all
select tag, body::text, null, null from policy.dkim_settings_document where tag = any($11::text[])
union all
select tag, body::text, null, null from policy.dkim_domain_document where tag = any($12::text[])
union all
select tag, body::text, null, null from policy.dkim_signature_document where tag = any($13::text[])
union all
select tag, body::text, null, null from policy.dkim_key_document where tag = any($14::text[]);

-- changes --
-- What happened after a position, up to the head: the head, the newest breaking migration, new revisions' stamps, changed
-- tags, floors; and which drills are on, with the seconds that they have left. What the log no longer tells, or what would
-- take too long to tell (a million rows imported), is told as floors of all kinds.
with head as (
  select number, stamp, extract(epoch from at)::float8 as at
    from policy.revision order by number desc limit 1
), reader as (
  select exists (select from policy.revision where number = $1 and stamp = $2) as known,
         $1 < (select pruned_to from policy.log_window)
           or $5::bigint < (select count(*) from (select from policy.change where revision > $1 limit $5::bigint + 1) c)
             as untold
), changed as materialized (
  select t.tag, max(c.revision) as revision
    from policy.change c, reader r, unnest(c.tags) t (tag)
   where c.revision > $1 and c.op <> 'floor' and r.known and not r.untold
   group by t.tag
), bulky as (
  select split_part(tag, '/', 1) as kind, max(revision) as revision
    from changed group by 1 having count(*) > $3
), floors as (
  select kind, revision from bulky
  union all
  select c.kind, c.revision from policy.change c, reader r
   where c.revision > $1 and c.op = 'floor' and r.known and not r.untold
  union all
  select k.kind, head.number from reader r, head,
         unnest(array['listener_domain', 'egress_source', 'egress_pool', 'tenant', 'queue_settings', 'queue',
                      'api_token', 'shaping', 'webhook', 'smtp_credential', 'dkim_settings',
                      'dkim_domain', 'dkim_signature', 'dkim_key']) k (kind)
   where r.known and r.untold
)
select 'head' as what, stamp as name, number as revision, reader.known as flag, at from head, reader
union all
select 'breaking', null, max(number), null, null from policy.migration where breaking
union all
(select 'stamp', stamp, number, null, null from policy.revision
  where number < (select number from head) and number > case when (select known from reader) then $1 else -1 end
  order by number desc limit $4)
union all
select 'floor', kind, max(revision), null, null from floors group by kind
union all
select 'drill', jsonb_build_object('kinds', d.kinds, 'nodes', d.nodes, 'by', coalesce(d.actor, d.login))::text, d.number,
       null, extract(epoch from d.until - clock_timestamp())::float8
  from policy.drill d where d.until > clock_timestamp()
union all
select 'tag', c.tag, c.revision,
       case split_part(c.tag, '/', 1)
         when 'listener_domain' then exists (select from policy.listener_domain_document d where d.tag = c.tag)
         when 'egress_source' then exists (select from policy.egress_source_document d where d.tag = c.tag)
         when 'egress_pool' then exists (select from policy.egress_pool_document d where d.tag = c.tag)
         when 'tenant' then exists (select from policy.tenant_document d where d.tag = c.tag)
         when 'queue_settings' then exists (select from policy.queue_settings_document d where d.tag = c.tag)
         when 'queue' then exists (select from policy.queue_document d where d.tag = c.tag)
         when 'api_token' then exists (select from policy.api_token_document d where d.tag = c.tag)
         when 'shaping' then exists (select from policy.shaping_document d where d.tag = c.tag)
         when 'webhook' then exists (select from policy.webhook_document d where d.tag = c.tag)
         when 'smtp_credential' then exists (select from policy.smtp_credential_document d where d.tag = c.tag)
         when 'dkim_settings' then exists (select from policy.dkim_settings_document d where d.tag = c.tag)
         when 'dkim_domain' then exists (select from policy.dkim_domain_document d where d.tag = c.tag)
         when 'dkim_signature' then exists (select from policy.dkim_signature_document d where d.tag = c.tag)
         when 'dkim_key' then exists (select from policy.dkim_key_document d where d.tag = c.tag)
         else false
       end, null
  from changed c
 where split_part(c.tag, '/', 1) not in (select kind from bulky);

-- holds_position --
-- Whether a revision with this number and stamp is of this history.
select exists (select from policy.revision where number = $1 and stamp = $2);

-- names --
-- The log's head with the newest breaking migration (first row), then a page of the tags of one kind, in their text's order.
select null as tag, head.number, head.stamp, (select max(number) from policy.migration where breaking) as breaking
  from (select number, stamp from policy.revision order by number desc limit 1) head
union all
(select tag, null, null, null from policy.listener_domain_document
  where $1 = 'listener_domain' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.egress_source_document
  where $1 = 'egress_source' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.egress_pool_document
  where $1 = 'egress_pool' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.tenant_document
  where $1 = 'tenant' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.queue_settings_document
  where $1 = 'queue_settings' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.queue_document
  where $1 = 'queue' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.shaping_document
  where $1 = 'shaping' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.webhook_document
  where $1 = 'webhook' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.dkim_settings_document
  where $1 = 'dkim_settings' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.dkim_domain_document
  where $1 = 'dkim_domain' and tag > $2 order by tag limit $3)
union all
(select tag, null, null, null from policy.dkim_signature_document
  where $1 = 'dkim_signature' and tag > $2 order by tag limit $3);

-- report_node --
-- Keeps what a node said of itself. Of a thousand, the one that has been silent for longest makes room for a new one. No
-- row when its name belongs to another token, or a thousand are live.
with room as (
  delete from policy.node
   where not exists (select from policy.node where node_id = $1)
     and (select count(*) from policy.node) >= 1000
     and node_id = (select node_id from policy.node where not policy.is_live(last_seen) order by last_seen limit 1)
  returning node_id
)
insert into policy.node as n (node_id, node_group, token, kumomta_version, client_version,
                              applied_number, applied_stamp, last_seen, counts, last_error, last_error_at, in_touch)
select $1, $2, $3, $4, $5, $6, $7, now(), $8::text::jsonb, $9::text, case when $9::text is not null then now() end, $10
 where exists (select from policy.node where node_id = $1)
    or (select count(*) from policy.node) - (select count(*) from room) < 1000
on conflict (node_id) do update
  set node_group = excluded.node_group, token = excluded.token, kumomta_version = excluded.kumomta_version,
      client_version = excluded.client_version, applied_number = excluded.applied_number,
      applied_stamp = excluded.applied_stamp, last_seen = excluded.last_seen, counts = excluded.counts,
      last_error = coalesce(excluded.last_error, n.last_error),
      last_error_at = coalesce(excluded.last_error_at, n.last_error_at), in_touch = excluded.in_touch
  where n.token is not distinct from excluded.token
     or not exists (select from policy.api_token t where t.name = n.token)
returning node_id;

-- node_token --
-- The token that a node belongs to.
select token from policy.node where node_id = $1;

-- node_states --
-- Every node held against the log, with ages by the database's clock.
select node_id, node_group, token, kumomta_version, client_version, applied_number, applied_stamp, first_seen, last_seen,
       live, is_ours, behind, counts::text, last_error, last_error_at, in_touch,
       extract(epoch from clock_timestamp() - last_seen)::float8 as silent_for,
       extract(epoch from clock_timestamp() - waits_since)::float8 as waits_for
  from policy.node_state order by node_id;

-- forget_nodes --
-- Forgets the nodes that have been silent for so many seconds.
delete from policy.node where last_seen < now() - make_interval(secs => $1) returning node_id;

-- forget_node --
-- Forgets one node, whatever it is; if it lives, it will be back with its next report.
delete from policy.node where node_id = $1 returning node_id;

-- begin_drill --
-- Lets these kinds of lookups fail for these nodes, for so many seconds from now.
insert into policy.drill (kinds, nodes, until)
values ($1::text[], $2::text[], clock_timestamp() + make_interval(secs => $3))
returning number, until;

-- end_drill --
-- Ends a drill, or with null all of them, at once and everywhere.
delete from policy.drill where $1::bigint is null or number = $1 returning number;

-- revision --
-- The stamp of a revision, or of the newest one.
select number, stamp from policy.revision where $1::bigint is null or number = $1 order by number desc limit 1;


-- note_dkim_key --
-- Notes a key that was read at a place; what is known there then.
select key_id, algorithm from policy.note_dkim_key($1, $2, $3, $4, $5);

-- count_dkim_keys --
-- How many keys of a root have been seen.
select count(*) from policy.dkim_key_seen where root = $1;

-- seen_dkim_keys --
-- A page of the keys of a root that have been seen, by name.
select name, key_id from policy.dkim_key_seen where root = $1 and name > $2 order by name limit $3;


-- revisions --
-- Revisions, newest first: since a time, of somebody (who logged in, or who was said to act), of documents by the
-- beginnings of their tags. What was said of a whole kind is of each of its documents.
with wanted as (
  select w.tag from unnest($3::text[]) w (tag)
), found as (
  select c.revision from wanted w join policy.change c on c.tags[1] collate "C" = w.tag
  union
  select c.revision from wanted w cross join lateral (
    -- `offset 0`: each range by itself goes through the index.
    select c.revision from policy.change c
     where c.tags[1] collate "C" > w.tag || '/' and c.tags[1] collate "C" < w.tag || '0' offset 0) c
  union
  select c.revision from policy.change c
   where c.op = 'floor' and c.kind in (select split_part(w.tag, '/', 1) from wanted w)
)
select r.number, r.stamp, r.at, r.actor, r.claimed_actor, r.reason
  from policy.revision r
 where r.number > 0 and ($1::timestamptz is null or r.at >= $1)
   and ($2::text is null or $2 in (r.actor, r.claimed_actor))
   and ($3::text[] is null or r.number in (select revision from found))
 order by r.number desc limit $4;

-- told_revision --
-- One revision, as it is told of.
select r.number, r.stamp, r.at, r.actor, r.claimed_actor, r.reason from policy.revision r where r.number = $1;

-- revision_at --
-- The revision that was the newest at a time.
select r.number, r.stamp from policy.revision r where r.at <= $1 order by r.number desc limit 1;

-- changes_of --
-- The first rows that revisions changed, of some kinds of documents alone if any are named.
select c.revision, c."table", c.op, c.key::text as key, c.old::text as old, c.new::text as new, c.tags[1] as tag, c.kind
  from unnest($1::bigint[]) r (number)
 cross join lateral (
   select * from policy.change c
    where c.revision = r.number
      and ($2::text[] is null or c.kind = any ($2) or split_part(c.tags[1], '/', 1) = any ($2))
    order by c.ordinal limit $3) c
 order by c.revision desc, c.ordinal;

-- count_changes --
-- How many rows revisions changed, as far as that is worth counting.
select r.number as revision, (
    select count(*) from (
      select from policy.change c
       where c.revision = r.number
         and ($2::text[] is null or c.kind = any ($2) or split_part(c.tags[1], '/', 1) = any ($2))
       limit $3) n) as rows
  from unnest($1::bigint[]) r (number);

-- changes_of_documents --
-- The first rows that revisions changed of documents, by the beginnings of their tags, and how many there are.
with wanted as (
  select w.tag from unnest($2::text[]) w (tag)
), found as (
  select c.revision, c.ordinal from wanted w join policy.change c on c.tags[1] collate "C" = w.tag
  union
  select c.revision, c.ordinal from wanted w cross join lateral (
    select c.revision, c.ordinal from policy.change c
     where c.tags[1] collate "C" > w.tag || '/' and c.tags[1] collate "C" < w.tag || '0' offset 0) c
  union
  select c.revision, c.ordinal from policy.change c
   where c.op = 'floor' and c.kind in (select split_part(w.tag, '/', 1) from wanted w)
), placed as (
  select f.revision, f.ordinal, row_number() over (partition by f.revision order by f.ordinal) as place,
         count(*) over (partition by f.revision) as rows
    from found f where f.revision = any ($1::bigint[])
)
select c.revision, c."table", c.op, c.key::text as key, c.old::text as old, c.new::text as new, c.tags[1] as tag, c.kind,
       p.rows
  from placed p join policy.change c on c.revision = p.revision and c.ordinal = p.ordinal
 where p.place <= $3
 order by c.revision desc, c.ordinal;

-- groups_in_log --
-- What stands in the second place of a kind's tags in the log: one step in the index for each.
with recursive part (name) as (
  (select split_part(c.tags[1], '/', 2) from policy.change c
    where c.tags[1] collate "C" > $1 || '/' and c.tags[1] collate "C" < $1 || '0'
    order by c.tags[1] collate "C" limit 1)
  union all
  select (select split_part(c.tags[1], '/', 2) from policy.change c
           where c.tags[1] collate "C" > $1 || '/' || p.name || '0' and c.tags[1] collate "C" < $1 || '0'
           order by c.tags[1] collate "C" limit 1)
    from part p where p.name is not null
)
select name from part where name is not null;

-- tags_in_log --
-- Tags that the log tells of, from one on.
select distinct c.tags[1] collate "C" as tag from policy.change c
 where c.tags[1] collate "C" >= $1 and c.tags[1] collate "C" < $2 order by 1 limit $3;

-- pruned_to --
-- Up to which revision the log may be gone.
select pruned_to from policy.log_window;

-- floors_since --
-- Kinds of documents that were said to have changed unseen by the log since a revision.
select c.revision, c.kind, r.reason from policy.change c join policy.revision r on r.number = c.revision
 where c.op = 'floor' and c.revision > $1 and c.kind = any ($2::text[]) order by c.revision;

-- revert --
-- Takes revisions back; the revision that does, or null.
select policy.revert($1::bigint, $2::bigint, $3::text, $4::boolean);

-- documents_at --
-- The documents that there were at a revision.
select tag, body::text as body from policy.documents_at($1::bigint, $2::text[]);

-- claim_turn --
-- Makes everybody else who changes policy wait until this transaction ends.
select policy.claim_turn();

-- prune_some --
-- Deletes some of the log that is older than so many seconds; no row while somebody else is at it.
select revision, rows from policy.prune_some(make_interval(secs => $1::float8), $2::integer);


-- prepare_migrations --
-- Makes room for the record of migrations; the lock is for two replicas that meet an empty database together.
select pg_advisory_xact_lock(1886350425);
create schema if not exists policy;
create table if not exists policy.migration (
  number     integer primary key,
  name       text not null,
  breaking   boolean not null default false,
  applied_at timestamptz not null default now()
);
comment on column policy.migration.breaking is
  'whether a policyd that does not know this file must not use the database';

-- database_owner --
-- Whose database this is.
select pg_get_userbyid(datdba) from pg_database where datname = current_database();

-- is_migrated --
-- Whether the record of migrations is there at all.
select to_regclass('policy.migration') is not null;

-- applied_migrations --
-- What the database has had.
select number, name, breaking from policy.migration order by number;

-- claim_migration --
-- Takes the number, or gives nothing where it was taken already; waits for whoever is about to take it.
insert into policy.migration (number, name, breaking) values ($1, $2, $3)
on conflict (number) do nothing
returning number;


-- insert_token --
-- A new token, known by the hash of its secret.
insert into policy.api_token (name, sha256, scopes, networks, domains, expires_at)
values ($1, $2, $3, $4::text[]::cidr[], $5, $6);

-- delete_token --
-- Ends a token at once, everywhere.
delete from policy.api_token where name = $1 returning name;

-- list_tokens --
-- Every token without its hash.
select name, scopes, networks::text[] as networks, domains, expires_at, created_at from policy.api_token order by name;

-- insert_credential --
-- A new credential, with the hash of its password.
insert into policy.smtp_credential (username, password_hash, tenant, networks, expires_at)
values ($1::text, $2::text, $3::text, $4::text[]::cidr[], $5);

-- replace_password --
-- Another hash for a credential; its old password is worth nothing from now on.
update policy.smtp_credential set password_hash = $2::text where username = $1::text returning username;

-- enable_credential --
-- Lets a credential log in, or no longer.
update policy.smtp_credential set enabled = $2 where username = $1::text returning username;

-- delete_credential --
-- Ends a credential at once, everywhere.
delete from policy.smtp_credential where username = $1::text returning username;

-- list_credentials --
-- Every credential, or a tenant's, without hashes.
select username::text, tenant::text, networks::text[] as networks, enabled::boolean, expires_at::timestamptz
  from policy.smtp_credential where $1::text is null or tenant = $1::text order by username;

-- insert_example_webhook --
-- A webhook to look at; disabled, or records would wait for days for a receiver that is not there.
insert into policy.webhook (name, url, insecure, tenant, events, headers, secret, enabled)
values ('example', 'http://127.0.0.1:8086/mail-events', true, null, '{Delivery,Bounce,TransientFailure,Feedback}',
        '{"X-Environment": "example", "Authorization": {"secret": "example-webhook"}}', 'example-signature', false);

-- is_untouched --
-- Whether the database holds nothing but what the migrations put there.
select not exists (select from policy.listener_domain)
   and not exists (select from policy.egress_source where name <> 'unspecified')
   and not exists (select from policy.tenant)
   and not exists (select from policy.queue where domain <> 'default')
   and not exists (select from policy.shaping_domain)
   and not exists (select from policy.shaping_provider)
   and not exists (select from policy.dkim_domain)
   and not exists (select from policy.webhook)
   and not exists (select from policy.smtp_credential)
   and not exists (select from policy.api_token);

-- count_secretive --
-- How many rows there are that hold hashes.
select (select count(*) from policy.smtp_credential) as credentials, (select count(*) from policy.api_token) as tokens;

-- pools_of_sources --
-- The pools that sources are in, for any group of nodes.
select e.source, array_agg(distinct e.pool order by e.pool) as pools
  from (select source, pool from policy.egress_pool_entry where source = any($1::text[])
        union all
        select source, pool from policy.egress_pool_group_entry where source = any($1::text[])) e
 group by e.source;

-- users_of_pools --
-- How many tenants and queues name each of these pools, and whether the default queue does.
select p.pool,
       (select count(*) from policy.tenant t where t.egress_pool = p.pool) as tenants,
       (select count(*) from policy.queue q where q.egress_pool = p.pool and q.domain <> 'default')
         + (select count(*) from policy.queue_tenant q where q.egress_pool = p.pool)
         + (select count(*) from policy.queue_campaign q where q.egress_pool = p.pool) as queues,
       exists (select from policy.queue q where q.egress_pool = p.pool and q.domain = 'default') as is_default
  from unnest($1::text[]) p (pool);

-- count_touched --
-- How many domains and tenants are among these, or name one of these pools.
select (select count(*) from (
          select unnest($1::text[])
          union select domain from policy.queue where egress_pool = any($3::text[]) and domain <> 'default'
          union select domain from policy.queue_tenant where egress_pool = any($3::text[])
          union select domain from policy.queue_campaign where egress_pool = any($3::text[])) d) as domains,
       (select count(*) from (
          select unnest($2::text[])
          union select name from policy.tenant where egress_pool = any($3::text[])
          union select tenant from policy.queue_tenant where egress_pool = any($3::text[])
          union select tenant from policy.queue_campaign where egress_pool = any($3::text[])) t) as tenants;

-- bodies --
-- Every document that kumod's constructors are given.
select tag, body::text from policy.listener_domain_document
union all select tag, body::text from policy.egress_source_document where tag <> 'egress_source/*/unspecified'
union all select tag, body::text from policy.egress_pool_document where tag <> 'egress_pool/*/unspecified'
union all select tag, body::text from policy.queue_document
union all select tag, body::text from policy.tenant_document
union all select tag, body::text from policy.dkim_settings_document
union all select tag, body::text from policy.dkim_domain_document
union all select tag, body::text from policy.dkim_signature_document
union all select tag, body::text from policy.shaping_document;

-- samples --
-- One name of each kind that a person can try, and how many rows there are.
select (select domain from policy.listener_domain
         where listener = '*' and domain !~ '\*'
         order by domain = 'example.com' desc, domain limit 1) as listener_domain,
       (select pool from policy.egress_pool_entry group by pool order by count(*) desc, pool limit 1) as egress_pool,
       (select domain from policy.queue where domain <> 'default' and domain !~ '\*'
         order by domain = 'gmail.com' desc, domain limit 1) as queue,
       (select name from policy.tenant order by name limit 1) as tenant,
       dkim.domain as dkim_domain, dkim.selector as dkim_selector,
       (select count(*) from policy.listener_domain) as listener_domains,
       (select count(*) from policy.egress_source where name <> 'unspecified') as egress_sources,
       (select count(*) from policy.egress_pool where name <> 'unspecified') as egress_pools,
       (select count(*) from policy.tenant) as tenants,
       (select count(*) from policy.queue) as queues,
       (select count(*) from policy.dkim_domain) as dkim_domains
  from (values (1)) one (row)
  left join lateral (
    select d.domain, coalesce(d.selector, s.selector) as selector
      from policy.dkim_domain d, policy.dkim_settings s
     where d.domain !~ '\*' and d.key_name is null
     order by d.domain = 'example.com' desc, d.domain limit 1) dkim on true;

-- server_health --
-- What PostgreSQL says of itself, and of the role that asks.
select current_setting('server_version') as version,
       current_setting('server_version_num')::integer as version_number,
       pg_catalog.pg_is_in_recovery() as in_recovery,
       current_setting('session_replication_role') as replication_role,
       current_setting('max_connections')::integer as max_connections,
       (select count(*) from pg_catalog.pg_stat_activity where backend_type = 'client backend') as connections,
       extract(epoch from pg_catalog.clock_timestamp())::float8 as clock,
       session_user as role,
       (select rolsuper from pg_catalog.pg_roles where rolname = session_user) as is_superuser,
       array(select r from unnest(array['policyd_owner', 'policyd_editor', 'policyd_service', 'policyd_reader']) as r
              where not exists (select from pg_catalog.pg_roles where rolname = r)) as missing_roles;

-- schema_health --
-- Triggers that are switched off; tables of policy without the triggers that log and guard them; documents that the
-- role that asks may not read.
select array(
         select c.relname || '.' || t.tgname
           from pg_catalog.pg_trigger t
           join pg_catalog.pg_class c on c.oid = t.tgrelid
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
          where n.nspname = 'policy' and not t.tgisinternal and t.tgenabled not in ('O', 'A')
          order by 1) as silent_triggers,
       array(
         select c.relname || '.' || wanted
           from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tag' and a.attgenerated = 's'
           cross join unnest(array['t000_claim', 't300_guard_update', 't300_guard_delete',
                                   't500_log_insert', 't500_log_update', 't500_log_delete']) as wanted
          where n.nspname = 'policy' and c.relkind = 'r' and c.relname <> 'dkim_key_seen'
            and not exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname = wanted)
          order by 1) as missing_triggers,
       array(
         select c.relname::text
           from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
          where n.nspname = 'policy' and c.relname like '%\_document'
            and not pg_catalog.has_table_privilege(c.oid, 'select')
          order by 1) as unreadable;

-- wanted_dkim_keys --
-- Private keys that rows sign with, each once, with one of the domains that need it. What a wildcard needs depends on
-- who is asked for, unless it names its key.
select root, name, min(algorithm) as algorithm, min(domain) as domain
  from (select coalesce(d.key_root, s.key_root) as root, d.algorithm, d.domain,
               coalesce(d.key_name, case when d.domain !~ '\*' then d.domain || '/' || coalesce(d.selector, s.selector) end)
               as name
          from policy.dkim_domain d cross join policy.dkim_settings s
        union all
        select coalesce(g.key_root, s.key_root), g.algorithm, g.domain,
               coalesce(g.key_name, g.domain || '/' || coalesce(g.selector, s.selector))
          from policy.dkim_signature g cross join policy.dkim_settings s) wanted
 where name is not null
 group by root, name
 order by root, name
 limit $1;

-- mail_without_a_pool --
-- Whose mail, and to which domains, no pool is named for; severity by what on_missing makes of it.
with placed as (
  select q.domain, q.egress_pool is not null or not coalesce(q.options -> 'protocol', '{"smtp": {}}') ? 'smtp' as placed
    from policy.queue q
), uncovered as (
  select p.domain from placed p where p.domain <> 'default' and not p.placed
), other as (
  select not exists (select from placed p where p.domain = '*') as uncovered
), senders as (
  select t.name, t.tag from policy.tenant t
   where t.egress_pool is null and coalesce(t.options -> 'protocol', '{"smtp": {}}') ? 'smtp'
  union all
  select null, 'queue/default' from policy.queue_settings s where s.default_tenant is null
), found as (
  select s.tag, s.name, case when o.uncovered then '' else (
    select u.domain from uncovered u
     where not exists (select from policy.queue_tenant i
                        where i.domain = u.domain and i.tenant = s.name
                          and (i.egress_pool is not null or not coalesce(i.options -> 'protocol', '{"smtp": {}}') ? 'smtp'))
     limit 1) end as domain
    from senders s, other o
   where not exists (select from placed p where p.domain = 'default' and p.placed)
)
select f.tag, case o.on_missing when 'stock' then 'warning' else 'error' end as severity,
       format('mail of %s to %s %s', coalesce('tenant ' || quote_literal(f.name), 'no tenant'),
              case f.domain when '' then 'any domain without an entry of its own' else f.domain end,
              case o.on_missing when 'stock' then 'leaves from the host''s own address'
                else 'waits, and bounces in the end' end) as says
  from found f, policy.queue_settings o where f.domain is not null;

-- pool_without_a_source --
-- Pools of which nothing can be chosen: no entry, or none with a weight.
with pools as (
  select p.name, p.tag, count(e.source) as entries, bool_and(coalesce(e.weight, 1) = 0) as weightless
    from policy.egress_pool p left join policy.egress_pool_entry e on e.pool = p.name
   where p.name <> 'unspecified' group by p.name, p.tag
  union all
  select p.name, p.tag, count(e.source), bool_and(coalesce(e.weight, 1) = 0)
    from policy.egress_pool_group p
    left join policy.egress_pool_group_entry e on e.pool = p.name and e.node_group = p.node_group
   group by p.name, p.node_group, p.tag
)
select p.tag, case when u.users > 0 then 'warning' else 'note' end as severity,
       format('%s, and %s', case when p.entries = 0 then 'it has no source' else 'all of its weights are 0' end,
              case u.users when 0 then 'nobody names it'
                when 1 then 'one tenant or queue names it' else format('%s tenants and queues name it', u.users) end) as says
  from pools p, lateral (
    select (select count(*) from policy.tenant t where t.egress_pool = p.name)
         + (select count(*) from policy.queue q where q.egress_pool = p.name)
         + (select count(*) from policy.queue_tenant q where q.egress_pool = p.name)
         + (select count(*) from policy.queue_campaign q where q.egress_pool = p.name) as users) u
 where p.entries = 0 or p.weightless;

-- unused_pool --
-- Pools with sources that no tenant and no queue names.
select p.tag, 'no tenant and no queue names it' as says
  from policy.egress_pool p
 where p.name <> 'unspecified'
   and exists (select from policy.egress_pool_entry e where e.pool = p.name)
   and not exists (select from policy.tenant t where t.egress_pool = p.name)
   and not exists (select from policy.queue q where q.egress_pool = p.name)
   and not exists (select from policy.queue_tenant q where q.egress_pool = p.name)
   and not exists (select from policy.queue_campaign q where q.egress_pool = p.name);

-- unused_source --
-- Sources that no pool has.
select s.tag, 'no pool has it' as says
  from policy.egress_source s
 where s.name <> 'unspecified'
   and not exists (select from policy.egress_pool_entry e where e.source = s.name)
   and not exists (select from policy.egress_pool_group_entry e where e.source = s.name);

-- source_without_an_address --
-- Sources of pools with neither an address nor a proxy.
select s.tag, 'neither it nor a proxy has an address' as says
  from (select name, tag, source_address, ha_proxy_server, socks5_proxy_server from policy.egress_source
        union all
        select name, tag, source_address, ha_proxy_server, socks5_proxy_server from policy.egress_source_group) s
 where s.name <> 'unspecified' and s.source_address is null and s.ha_proxy_server is null and s.socks5_proxy_server is null
   and (exists (select from policy.egress_pool_entry e where e.source = s.name)
        or exists (select from policy.egress_pool_group_entry e where e.source = s.name));

-- shared_address --
-- Several sources that mail leaves from the same address of.
with addresses as (
  select s.node_group, s.name, s.tag, s.ehlo_domain, case when policy.is_ip(x.address) then host(x.address::inet) end as address
    from (select '*' as node_group, name, tag, ehlo_domain, source_address, ha_proxy_server, ha_proxy_source_address,
                 socks5_proxy_server, socks5_proxy_source_address from policy.egress_source
          union all
          select node_group, name, tag, ehlo_domain, source_address, ha_proxy_server, ha_proxy_source_address,
                 socks5_proxy_server, socks5_proxy_source_address from policy.egress_source_group) s,
         lateral (select coalesce(case when s.ha_proxy_server is not null then s.ha_proxy_source_address
                                       when s.socks5_proxy_server is not null then s.socks5_proxy_source_address end,
                                  s.source_address) as address) x
)
select min(a.tag) as tag,
       format('%s send from %s%s', string_agg(a.name, ', ' order by a.name), a.address,
              case when count(distinct coalesce(a.ehlo_domain, '')) = 1 then '' else ', and greet by different names' end) as says
  from addresses a where a.address is not null group by a.node_group, a.address having count(*) > 1;

-- group_without_an_address --
-- Sources that a group of nodes uses as all nodes do, beside others that it has its own form of.
with groups as (
  select distinct node_group from policy.egress_source_group
), entries as (
  select g.node_group, e.pool, e.source
    from groups g join policy.egress_pool_entry e
      on not exists (select from policy.egress_pool_group p where p.name = e.pool and p.node_group = g.node_group)
  union all
  select e.node_group, e.pool, e.source
    from policy.egress_pool_group_entry e join groups g on g.node_group = e.node_group
), judged as (
  select e.node_group, e.pool, e.source, o.name is not null as own
    from entries e left join policy.egress_source_group o on o.name = e.source and o.node_group = e.node_group
)
select distinct s.tag, format('nodes of group %L send with it from %s, the address of all nodes', j.node_group, s.source_address) as says
  from judged j join policy.egress_source s on s.name = j.source and s.source_address is not null
 where not j.own
   and exists (select from judged o where o.node_group = j.node_group and o.pool = j.pool and o.own);

-- group_without_nodes --
-- Groups that no node has said that it is of, once any has spoken.
select min(r.tag) as tag, format('no node is of group %L', r.node_group) as says
  from (select node_group, tag from policy.egress_source_group
        union all
        select node_group, tag from policy.egress_pool_group) r
 where exists (select from policy.node)
   and not exists (select from policy.node n where n.node_group = r.node_group)
 group by r.node_group;

-- tenants_that_nothing_names --
-- Tenants that no message can be of: no header names one, and they are not the default.
select s.tag, format('there is no tenant_header, so nothing makes a message one of %s%s',
                     (select string_agg(quote_literal(x.name), ', ' order by x.name)
                        from (select t.name from policy.tenant t where t.name is distinct from s.default_tenant
                               order by t.name limit 5) x),
                     case when n.several > 5 then format(' and %s more', n.several - 5) else '' end) as says
  from policy.queue_settings s,
       lateral (select count(*) as several from policy.tenant t where t.name is distinct from s.default_tenant) n
 where s.tenant_header is null and n.several > 0;

-- campaigns_that_nothing_names --
-- Campaigns without a header that would name one.
select s.tag, format('there is no campaign_header, so %s never used', case n.several
                       when 1 then 'what is said of one campaign is' else format('what is said of %s campaigns is', n.several) end) as says
  from policy.queue_settings s,
       lateral (select (select count(*) from policy.tenant_campaign) + (select count(*) from policy.queue_campaign) as several) n
 where s.campaign_header is null and n.several > 0;

-- queue_of_a_stranger --
-- Tenants inside a queue that have no row: their messages are refused before any queue is asked.
select q.tag, format('there is no tenant %L', q.tenant) as says
  from policy.queue_tenant q
 where q.domain <> 'default' and not exists (select from policy.tenant t where t.name = q.tenant);

-- tenant_inside_the_default --
-- Tenants inside the default queue, where nobody looks.
select q.tag, format('tenant %L is not looked for in the default', q.tenant) as says
  from policy.queue_tenant q where q.domain = 'default';

-- queue_that_only_hides --
-- Queues that say nothing and stand before a wildcard that would.
select q.tag, format('it says nothing, and stands before %s', w.domain) as says
  from policy.queue q
 cross join lateral (
    select w.domain from policy.queue w
     where w.domain = any (policy.wildcards_above(q.domain)) order by length(w.domain) desc limit 1) w
 where q.domain <> 'default' and q.egress_pool is null and q.routing_domain is null and q.options = '{}'
   and not exists (select from policy.queue_tenant t where t.domain = q.domain);

-- retries_that_contradict --
-- Intervals and ages that, laid over each other, leave no retry.
with layered as (
  select q.tag, q.options as own, q.options as options from policy.queue q where q.domain = 'default'
  union all
  select q.tag, q.options, d.options || q.options
    from policy.queue q, policy.queue d where d.domain = 'default' and q.domain <> 'default'
  union all
  select t.tag, t.options, d.options || t.options from policy.tenant t, policy.queue d where d.domain = 'default'
  union all
  select i.tag, i.options, d.options || q.options || coalesce(t.options, '{}') || i.options
    from policy.queue_tenant i join policy.queue q on q.domain = i.domain left join policy.tenant t on t.name = i.tenant,
         policy.queue d where d.domain = 'default'
  union all
  select c.tag, c.options, d.options || q.options || coalesce(t.options, '{}') || i.options || c.options
    from policy.queue_campaign c join policy.queue q on q.domain = c.domain
    join policy.queue_tenant i on i.domain = c.domain and i.tenant = c.tenant left join policy.tenant t on t.name = c.tenant,
         policy.queue d where d.domain = 'default'
), told as (
  select l.tag, coalesce(l.options -> 'retry_interval', '"20m"') as every, l.options -> 'max_retry_interval' as most,
         coalesce(l.options -> 'max_age', '"7 days"') as age
    from layered l where l.own ?| array['retry_interval', 'max_retry_interval', 'max_age']
)
select t.tag, format('retry_interval %s is more than max_retry_interval %s', t.every, t.most) as says
  from told t where policy.seconds(t.every) > policy.seconds(t.most)
union all
select t.tag, format('retry_interval %s is not less than max_age %s: nothing is tried twice', t.every, t.age)
  from told t where policy.seconds(t.every) >= policy.seconds(t.age);

-- rate_that_is_never_reached --
-- Rates above another one that holds as well.
select t.tag, format('campaign %L may send %s, and its tenant %s', c.campaign, c.overall_max_message_rate, t.overall_max_message_rate) as says
  from policy.tenant_campaign c join policy.tenant t on t.name = c.tenant
 where policy.per_second(c.overall_max_message_rate) > policy.per_second(t.overall_max_message_rate)
union all
select t.tag, format('each of its queues may send %s, and all of them together %s', t.options ->> 'max_message_rate', t.overall_max_message_rate)
  from policy.tenant t where policy.per_second(t.options ->> 'max_message_rate') > policy.per_second(t.overall_max_message_rate)
union all
select q.tag, format('it may send %s, and all queues of the tenant together %s', q.options ->> 'max_message_rate', t.overall_max_message_rate)
  from policy.queue_tenant q join policy.tenant t on t.name = q.tenant
 where policy.per_second(q.options ->> 'max_message_rate') > policy.per_second(t.overall_max_message_rate);

-- tenant_that_nobody_may_send_as --
-- Tenants with an empty list of who may send as them.
select t.tag, 'require_authz is empty' as says from policy.tenant t where t.require_authz = '{}';

-- authz_without_a_credential --
-- Users who are named and cannot log in here, once anybody can.
select t.tag, format('require_authz names %L, for whom there is no credential', a.name) as says
  from policy.tenant t, unnest(t.require_authz) a (name)
 where exists (select from policy.smtp_credential)
   and not exists (select from policy.smtp_credential c where c.username = a.name)
union all
select l.tag, format('relay_from_authz names %L, for whom there is no credential', a.name)
  from policy.listener_domain l, unnest(l.relay_from_authz) a (name)
 where exists (select from policy.smtp_credential)
   and not exists (select from policy.smtp_credential c where c.username = a.name);

-- credential_that_cannot_send --
-- Credentials that may log in, for a tenant that does not list them.
select c.tag, format('require_authz of tenant %L does not name it', c.tenant) as says
  from policy.smtp_credential c join policy.tenant t on t.name = c.tenant::text
 where c.enabled and t.require_authz is not null and c.username::text <> all (t.require_authz);

-- ended --
-- Credentials and tokens whose time is over.
select c.tag, format('it ended at %s', to_char(c.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) as says
  from policy.smtp_credential c where c.expires_at <= now()
union all
select t.tag, format('it ended at %s', to_char(t.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
  from policy.api_token t where t.expires_at <= now();

-- token_for_nobody --
-- Tokens limited to domains of which none signs.
select t.tag, format('nothing signs for %s', array_to_string(t.domains, ', ')) as says
  from policy.api_token t
 where 'dkim' = any (t.scopes) and t.domains is not null
   and not exists (
     select from unnest(t.domains) a (name), (select d.domain from policy.dkim_domain d
                                              union all select s.domain from policy.dkim_signature s) o
      where o.domain = a.name or o.domain = '*' or a.name = '*'
         or (o.domain like '*.%' and right(a.name, length(o.domain) - 1) = substr(o.domain, 2))
         or (a.name like '*.%' and right(o.domain, length(a.name) - 1) = substr(a.name, 2)));

-- open_relay --
-- Listener domains by which anybody may send anything to anybody.
select l.tag, 'relay_to is true for whatever no other entry names' as says
  from policy.listener_domain l where l.domain = '*' and l.relay_to
union all
select l.tag, format('relay_from holds %s: whoever says that mail is from there may send it anywhere', n.network)
  from policy.listener_domain l, unnest(l.relay_from) n (network) where n.network in ('any', '0.0.0.0/0', '::/0');

-- listener_that_is_never_met --
-- Entries for a listener by an address that no connection has.
select min(l.tag) as tag, format('no connection has the local address %s', l.listener) as says
  from policy.listener_domain l where l.listener ~ '^(0\.0\.0\.0|\[::\]|::):\d+$' group by l.listener;

-- key_of_another_algorithm --
-- Signers whose key is known, and is not what the row says.
with signers as (
  select d.tag, d.domain, d.selector, d.algorithm, d.key_root, d.key_name from policy.dkim_domain d
  union all
  select g.tag, g.domain, g.selector, g.algorithm, g.key_root, g.key_name from policy.dkim_signature g
)
select s.tag, format('algorithm is %s, and the key %s in root %s is for %s', s.algorithm, k.name, k.root, k.algorithm) as says
  from signers s, policy.dkim_settings o, policy.dkim_key_seen k
 where k.root = coalesce(s.key_root, o.key_root)
   and k.name = coalesce(s.key_name, s.domain || '/' || coalesce(s.selector, o.selector))
   and k.algorithm <> s.algorithm;

-- signature_out_of_time --
-- Signers that do not sign yet, no longer, or soon no longer.
select s.tag, case when s.not_before > now() or s.not_after <= now() then 'warning' else 'note' end as severity,
       case when s.not_before > now() then format('it begins at %s', to_char(s.not_before at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
            else format('it %s at %s', case when s.not_after <= now() then 'ended' else 'ends' end,
                        to_char(s.not_after at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) end as says
  from (select tag, not_before, not_after from policy.dkim_domain
        union all select tag, not_before, not_after from policy.dkim_signature) s
 where s.not_before > now() or s.not_after <= now() + interval '14 days';

-- signature_that_is_not_added --
-- Signatures that no message gets.
select s.tag, 'it is not among the additional signatures' as says
  from policy.dkim_signature s
 where not exists (select from policy.dkim_additional_signature a where a.signature = s.name);

-- sender_that_is_not_signed --
-- Domains that may send through us and that nothing signs for, once anything signs.
select l.tag, format('nothing signs for %s', l.domain) as says
  from policy.listener_domain l
 where l.domain not like '*%'
   and (cardinality(l.relay_from) > 0 or cardinality(l.relay_from_authz) > 0)
   and exists (select from policy.dkim_domain)
   and not exists (select from policy.dkim_additional_signature)
   and not exists (
     select from policy.dkim_domain d where d.domain = l.domain or d.domain = any (policy.wildcards_above(l.domain)));

-- over_sign_that_cannot_be_undone --
-- over_sign = false below a default of true, which neither KumoMTA nor policyd minds.
select s.tag, 'over_sign is false, and true in dkim_settings' as says
  from (select tag, over_sign from policy.dkim_domain union all select tag, over_sign from policy.dkim_signature) s,
       policy.dkim_settings o
 where s.over_sign is false and o.over_sign;

-- shaping_of_an_unknown_source --
-- What shaping says of sources that are not there.
select s.tag, format('%s %L says something of source %L, which is not there', s.what, s.owner, s.source) as says
  from (select tag, 'provider' as what, provider as owner, source from policy.shaping_provider_source
        union all
        select tag, 'domain', domain, source from policy.shaping_domain_source) s
 where not exists (select from policy.egress_source e where e.name = s.source);

-- webhook_in_the_clear --
-- Webhooks over http to another host.
select w.tag, format('%L posts to %s', w.name, substring(w.url from '^http://[^/?]+')) as says
  from policy.webhook w
 where w.url ~ '^http:' and w.url !~ '^http://(127\.[0-9.]+|localhost|\[::1\])([:/?]|$)';

-- webhook_that_is_off --
-- Webhooks that are told nothing.
select w.tag, format('%L is not enabled', w.name) as says from policy.webhook w where not w.enabled;

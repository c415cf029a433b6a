-- Traffic shaping: what KumoMTA's loader takes from a shaping file, as rows. All of it is one document.

create function policy.is_shaping_domain(name text) returns boolean
  language sql immutable parallel safe
  return policy.is_domain(rtrim(name, '.')) and name !~ '\*' and name !~ '\.\.$' and name <> 'provider'
    or name ~ '^\[[0-9a-z.:]{1,60}\](:\d{1,5})?$' or name ~ '^https?://[!-~]{1,200}$';
comment on function policy.is_shaping_domain(text) is
  'True for what a shaping file can have a section for: default, a lower-case domain, an address literal, a log hook''s URL.';

create table policy.shaping_domain (
  domain text constraint shaping_domains_are_unique primary key
    constraint domain_is_default_or_a_lower_case_name_without_wildcard check (policy.is_shaping_domain(domain)),
  position integer,
  mx_rollup boolean,
  replace_base boolean,
  options jsonb not null default '{}'
    constraint options_is_an_object check (jsonb_typeof(options) = 'object')
    constraint mx_rollup_and_what_has_a_table_are_not_options check (
      not options ?| array['mx_rollup', 'replace_base', 'automation', 'sources']),
  tag text not null generated always as ('shaping') stored,
  constraint a_dot_at_the_end_is_for_what_rolls_up check (domain !~ '\.$' or mx_rollup is not false),
  constraint default_does_not_roll_up check (domain <> 'default' or mx_rollup is null)
);
comment on table policy.shaping_domain is
  'Limits of the paths to a domain, or (mx_rollup) to all domains with the same MX; default is what all others are laid over.';
comment on column policy.shaping_domain.domain is
  'the routing domain, exactly, or default; with a dot at the end: the same domain once more, for its MX, beside one that does not roll up';
comment on column policy.shaping_domain.position is
  'order, lowest first, then those without one by name; it matters among domains that have the same MX';
comment on column policy.shaping_domain.mx_rollup is 'whether it is for all domains with the same MX; null: true, as KumoMTA has it';
comment on column policy.shaping_domain.replace_base is 'whether it stands instead of what KumoMTA''s own file, default and providers say';
comment on column policy.shaping_domain.options is 'options of kumo.make_egress_path';
comment on column policy.shaping_domain.tag is 'its document';

create table policy.shaping_domain_source (
  domain text not null constraint default_has_no_sources check (domain <> 'default')
    constraint the_shaping_domain_exists references policy.shaping_domain on delete cascade on update cascade,
  source text not null constraint source_is_1_to_255_characters_trimmed_without_controls check (policy.is_name(source)),
  options jsonb not null default '{}' constraint options_is_an_object check (jsonb_typeof(options) = 'object'),
  tag text not null generated always as ('shaping') stored,
  constraint sources_stand_once_in_a_shaping_domain primary key (domain, source)
);
comment on table policy.shaping_domain_source is 'What is different from one egress source to a domain.';
comment on column policy.shaping_domain_source.domain is 'the domain; not default, whose sources KumoMTA never applies';
comment on column policy.shaping_domain_source.source is 'the egress source';
comment on column policy.shaping_domain_source.options is 'options of kumo.make_egress_path, laid over those of the domain';
comment on column policy.shaping_domain_source.tag is 'the document that it is part of';

create table policy.shaping_domain_automation (
  domain text not null
    constraint the_shaping_domain_exists references policy.shaping_domain on delete cascade on update cascade,
  position integer not null,
  regex text[] not null,
  action jsonb not null,
  threshold text,
  duration jsonb not null,
  match_internal boolean not null default false,
  tag text not null generated always as ('shaping') stored,
  constraint rules_of_a_shaping_domain_are_ordered primary key (domain, position)
);
comment on table policy.shaping_domain_automation is
  'What the TSA daemon does when responses of a domain match. Rules add to those of KumoMTA''s own file: repeat none of them.';
comment on column policy.shaping_domain_automation.domain is 'the domain';
comment on column policy.shaping_domain_automation.position is 'order';
comment on column policy.shaping_domain_automation.regex is 'any of these matches the response; as fancy-regex of Rust reads them';
comment on column policy.shaping_domain_automation.action is
  'a list of Suspend, SuspendTenant, SuspendCampaign, Bounce, BounceTenant, BounceCampaign, {"SetConfig": {"name": …, "value": …}}, {"SetDomainConfig": …}';
comment on column policy.shaping_domain_automation.threshold is 'how many matches in what time, such as 3/hr; null: the first one';
comment on column policy.shaping_domain_automation.duration is 'for how long: seconds, or text such as "2 hours"';
comment on column policy.shaping_domain_automation.match_internal is 'whether responses that KumoMTA itself makes count';
comment on column policy.shaping_domain_automation.tag is 'the document that it is part of';

create table policy.shaping_provider (
  name text constraint shaping_providers_are_unique primary key
    constraint name_is_1_to_255_characters_trimmed_without_controls check (policy.is_name(name)),
  position integer,
  replace_base boolean,
  provider_connection_limit jsonb,
  provider_max_message_rate text,
  options jsonb not null default '{}'
    constraint options_is_an_object check (jsonb_typeof(options) = 'object')
    constraint what_has_a_column_or_a_table_is_not_an_option check (
      not options ?| array['provider_connection_limit', 'provider_max_message_rate', 'match', 'replace_base', 'automation', 'sources']),
  tag text not null generated always as ('shaping') stored
);
comment on table policy.shaping_provider is
  'Limits of the paths to the domains of a mailbox provider, found by their MX or name. Of several that match, later ones win.';
comment on column policy.shaping_provider.name is 'its name, which queues can be counted by';
comment on column policy.shaping_provider.position is 'order, lowest first, then those without one by name';
comment on column policy.shaping_provider.replace_base is 'whether it stands instead of what KumoMTA''s own file says of this provider';
comment on column policy.shaping_provider.provider_connection_limit is
  'connections from one source to all of its domains together: 5, "local:5"';
comment on column policy.shaping_provider.provider_max_message_rate is
  'messages from one source to all of its domains together, such as 100/s; KumoMTA takes the first file''s that has the provider';
comment on column policy.shaping_provider.options is 'options of kumo.make_egress_path';
comment on column policy.shaping_provider.tag is 'its document';

create table policy.shaping_provider_match (
  provider text not null
    constraint the_shaping_provider_exists references policy.shaping_provider on delete cascade on update cascade,
  rule text not null
    constraint rule_is_mxsuffix_domainsuffix_or_hostname check (rule in ('MXSuffix', 'DomainSuffix', 'HostName')),
  value text not null constraint value_is_lower_case_without_a_dot_at_the_end check (value ~ '^[^\sA-Z]*[^\sA-Z.]$'),
  tag text not null generated always as ('shaping') stored,
  constraint matches_stand_once_in_a_shaping_provider primary key (provider, rule, value)
);
comment on table policy.shaping_provider_match is
  'Whose domains a provider''s are: by one DomainSuffix, or where each MX host has one of the MXSuffixes or HostNames.';
comment on column policy.shaping_provider_match.provider is 'the provider';
comment on column policy.shaping_provider_match.rule is 'MXSuffix, DomainSuffix or HostName';
comment on column policy.shaping_provider_match.value is 'what the name ends with (begin it with a dot, or example.com ends notexample.com), or is';
comment on column policy.shaping_provider_match.tag is 'the document that it is part of';

create table policy.shaping_provider_source (
  provider text not null
    constraint the_shaping_provider_exists references policy.shaping_provider on delete cascade on update cascade,
  source text not null constraint source_is_1_to_255_characters_trimmed_without_controls check (policy.is_name(source)),
  provider_source_selection_rate text,
  options jsonb not null default '{}'
    constraint options_is_an_object check (jsonb_typeof(options) = 'object')
    constraint provider_source_selection_rate_is_a_column check (not options ? 'provider_source_selection_rate'),
  tag text not null generated always as ('shaping') stored,
  constraint sources_stand_once_in_a_shaping_provider primary key (provider, source)
);
comment on table policy.shaping_provider_source is 'What is different from one egress source to a provider.';
comment on column policy.shaping_provider_source.provider is 'the provider';
comment on column policy.shaping_provider_source.source is 'the egress source';
comment on column policy.shaping_provider_source.provider_source_selection_rate is
  'how often the source may be chosen for all of its domains together, such as 100/s';
comment on column policy.shaping_provider_source.options is 'options of kumo.make_egress_path, laid over those of the provider';
comment on column policy.shaping_provider_source.tag is 'the document that it is part of';

create table policy.shaping_provider_automation (
  provider text not null
    constraint the_shaping_provider_exists references policy.shaping_provider on delete cascade on update cascade,
  position integer not null,
  regex text[] not null,
  action jsonb not null,
  threshold text,
  duration jsonb not null,
  match_internal boolean not null default false,
  tag text not null generated always as ('shaping') stored,
  constraint rules_of_a_shaping_provider_are_ordered primary key (provider, position)
);
comment on table policy.shaping_provider_automation is
  'What the TSA daemon does when responses of a provider match. Rules add to those of KumoMTA''s own file: repeat none of them.';
comment on column policy.shaping_provider_automation.provider is 'the provider';
comment on column policy.shaping_provider_automation.position is 'order';
comment on column policy.shaping_provider_automation.regex is 'any of these matches the response; as fancy-regex of Rust reads them';
comment on column policy.shaping_provider_automation.action is 'a list, as in policy.shaping_domain_automation';
comment on column policy.shaping_provider_automation.threshold is 'how many matches in what time, such as 3/hr; null: the first one';
comment on column policy.shaping_provider_automation.duration is 'for how long: seconds, or text such as "2 hours"';
comment on column policy.shaping_provider_automation.match_internal is 'whether responses that KumoMTA itself makes count';
comment on column policy.shaping_provider_automation.tag is 'the document that it is part of';

call policy.watch('policy.shaping_domain', 'egress_path');
call policy.watch('policy.shaping_domain_source', 'egress_path');
call policy.watch('policy.shaping_domain_automation', 'shaping_rule', 'egress_path');
call policy.watch('policy.shaping_provider', 'egress_path', 'shaping_provider');
call policy.watch('policy.shaping_provider_match');
call policy.watch('policy.shaping_provider_source', 'egress_path', 'shaping_provider_source');
call policy.watch('policy.shaping_provider_automation', 'shaping_rule', 'egress_path');

create function policy.shaping_rule(fields jsonb) returns jsonb
  language sql immutable parallel safe
  return jsonb_build_object('regex', fields -> 'regex', 'action', fields -> 'action', 'duration', fields -> 'duration')
    || case when fields ->> 'threshold' is null then '{}'
       else jsonb_build_object('trigger', jsonb_build_object('Threshold', fields -> 'threshold')) end
    || case when (fields ->> 'match_internal')::boolean then jsonb_build_object('match_internal', true) else '{}' end;
comment on function policy.shaping_rule(jsonb) is 'A row of automation (as jsonb) in KumoMTA''s spelling.';

-- A function that is not inlined: the view stands in the one statement that reads documents of all kinds, and making
-- its plan ready would cost every lookup half as much again. Lists, because objects have no order in jsonb.
create function policy.shaping_body() returns jsonb
  language plpgsql stable set search_path = '' set jit = off as $$
begin
  return jsonb_build_object(
    'providers', (
      select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
          'name', p.name, 'replace_base', p.replace_base,
          'provider_connection_limit', p.provider_connection_limit,
          'provider_max_message_rate', p.provider_max_message_rate))
        || jsonb_build_object(
          'options', p.options, 'match', coalesce(m.list, '[]'), 'sources', coalesce(s.list, '[]'),
          'automation', coalesce(a.list, '[]'))
        order by p.position nulls last, p.name collate "C"), '[]')
      from policy.shaping_provider as p
      left join (
        select m.provider, jsonb_agg(jsonb_build_object(m.rule, m.value) order by m.rule, m.value collate "C") as list
        from policy.shaping_provider_match as m group by m.provider) as m on m.provider = p.name
      left join (
        select s.provider, jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'name', s.source, 'provider_source_selection_rate', s.provider_source_selection_rate))
          || jsonb_build_object('options', s.options) order by s.source collate "C") as list
        from policy.shaping_provider_source as s group by s.provider) as s on s.provider = p.name
      left join (
        select a.provider, jsonb_agg(policy.shaping_rule(to_jsonb(a)) order by a.position) as list
        from policy.shaping_provider_automation as a group by a.provider) as a on a.provider = p.name),
    'domains', (
      select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
          'name', d.domain, 'mx_rollup', d.mx_rollup, 'replace_base', d.replace_base))
        || jsonb_build_object(
          'options', d.options, 'sources', coalesce(s.list, '[]'), 'automation', coalesce(a.list, '[]'))
        order by d.domain <> 'default', d.position nulls last, d.domain collate "C"), '[]')
      from policy.shaping_domain as d
      left join (
        select s.domain, jsonb_agg(jsonb_build_object('name', s.source, 'options', s.options) order by s.source collate "C") as list
        from policy.shaping_domain_source as s group by s.domain) as s on s.domain = d.domain
      left join (
        select a.domain, jsonb_agg(policy.shaping_rule(to_jsonb(a)) order by a.position) as list
        from policy.shaping_domain_automation as a group by a.domain) as a on a.domain = d.domain));
end $$;
comment on function policy.shaping_body() is 'All of shaping: providers and domains, each in its order.';

-- Always there: without rows it says nothing, which is what an empty file says to KumoMTA.
create view policy.shaping_document as
select 'shaping' as tag, policy.shaping_body() as body;
comment on view policy.shaping_document is 'All of shaping: providers and domains, each in its order.';
comment on column policy.shaping_document.tag is 'the document';
comment on column policy.shaping_document.body is 'what it says';

create or replace function policy.kinds() returns text[] language sql stable parallel safe
begin atomic
  select array_agg(left(v.viewname, -length('_document'))::text order by v.viewname)
  from pg_catalog.pg_views as v where v.schemaname = 'policy' and v.viewname like '%\_document';
end;
comment on function policy.kinds() is 'The kinds of documents, the first part of their tags: each has a view.';

do $$
declare
  rows_ text := 'policy.shaping_domain, policy.shaping_domain_source, policy.shaping_domain_automation, policy.shaping_provider, '
    'policy.shaping_provider_match, policy.shaping_provider_source, policy.shaping_provider_automation';
begin
  insert into policy.privilege (role, privilege)
  select r.role, format('select, insert, update, delete on %s', rows_) from (values ('policyd_owner'), ('policyd_editor')) as r (role)
  union all
  select r.role, format('select on %s', rows_) from (values ('policyd_service'), ('policyd_reader')) as r (role)
  union all
  select r.role, 'select on policy.shaping_document'
  from (values ('policyd_owner'), ('policyd_editor'), ('policyd_service'), ('policyd_reader')) as r (role);
end $$;
call policy.grant_access();
